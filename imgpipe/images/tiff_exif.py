"""EXIF out of a TIFF: its descriptive fields and sub-directories as a block of their own.

A TIFF keeps these fields among those of its pixels (TIFF 6.0; CIPA DC-008, 4.5), so the block is put
together anew: the same tags, types and bytes, other offsets.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from imgpipe.errors import DecodeError
from imgpipe.images.metadata import ORIENTATION_TAG

if TYPE_CHECKING:
    from imgpipe.images.tiff import Entry, Page

EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 34665, 34853, 40965

#: Fields of the first directory that describe the picture and not how it is stored.
DESCRIPTIVE_TAGS = {
    *(270, 271, 272, ORIENTATION_TAG, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432),
    *(40091, 40092, 40093, 40094, 40095),
}


def collect_exif(data: bytes, page: Page) -> bytes | None:
    """An EXIF block with the descriptive fields of ``page``, or ``None`` where it has none."""
    main = {tag: entry for tag, entry in page.entries.items() if tag in DESCRIPTIVE_TAGS}
    subs = {tag: _sub_directory(data, page, tag) for tag in (EXIF_POINTER, GPS_POINTER)}
    subs = {tag: entries for tag, entries in subs.items() if entries}
    if not subs and set(main) <= {ORIENTATION_TAG} and page.number(ORIENTATION_TAG, 1) == 1:
        return None
    return _serialise(page.order, main, subs)


def _sub_directory(data: bytes, page: Page, tag: int) -> dict[int, Entry]:
    from imgpipe.images.tiff import read_directory

    at = page.number(tag, 0)
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        entries, _ = read_directory(data, page.order, at, big=big, name="")
    except DecodeError:
        return {}  # a pointer to nowhere: there is nothing behind it to lose
    # The interoperability directory would need its own offset; it holds only a conformance mark.
    return {tag: entry for tag, entry in entries.items() if tag != INTEROP_POINTER and entry.kind < 16}


def _serialise(order: str, main: dict[int, Entry], subs: dict[int, dict[int, Entry]]) -> bytes:
    """Header, main directory, sub-directories, each followed by the values that do not fit into it."""
    fields = {tag: (entry.kind, entry.count, entry.value) for tag, entry in main.items() if entry.kind < 16}
    size = _directory_size({**fields, **dict.fromkeys(subs, (4, 1, b"\x00\x00\x00\x00"))})
    at = 8 + size
    bodies = []
    for tag, entries in subs.items():
        values = {t: (e.kind, e.count, e.value) for t, e in entries.items()}
        bodies.append(directory(order, values, at))
        fields[tag] = (4, 1, struct.pack(order + "I", at))
        at += len(bodies[-1])
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return b"".join([magic, struct.pack(order + "I", 8), directory(order, fields, 8), *bodies])


def _directory_size(fields: dict[int, tuple[int, int, bytes]]) -> int:
    spilled = sum(len(v) + len(v) % 2 for _, _, v in fields.values() if len(v) > 4)
    return 2 + 12 * len(fields) + 4 + spilled


def directory(order: str, fields: dict[int, tuple[int, int, bytes]], at: int) -> bytes:
    """A directory to stand at offset ``at``: tag -> (type, count, value bytes); no further one follows."""
    head, spill = bytearray(struct.pack(order + "H", len(fields))), bytearray()
    spill_at = at + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        kind, count, value = fields[tag]
        head += struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            head += value.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", spill_at + len(spill))
            spill += value + b"\0" * (len(value) % 2)
    return bytes(head + b"\0\0\0\0" + spill)
