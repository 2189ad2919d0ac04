"""TIFF directories (TIFF 6.0, BigTIFF): header, metadata, and clean copies of the first page for decoders.

Decoders never see the file's own directory. They get the same bytes with a new one behind them that holds
only what describes the pixels: loops of directories, sub-directories and hostile tags do not reach them,
and neither does the orientation tag, which one library applies and the other does not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from imgpipe.errors import DecodeError
from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.metadata import orientation_of, screen
from imgpipe.images.tiff_exif import collect_exif

#: TIFF field types -> bytes per value.
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, STRIP_COUNTS, PLANAR, PREDICTOR = 273, 277, 279, 284, 317
TILE_WIDTH, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 324, 325, 338, 339
_XMP, _ICC = 700, 34675

#: Everything that says how the pixels are stored; nothing else is shown to a decoder.
_PIXEL_TAGS = {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 263, 266, STRIP_OFFSETS, SAMPLES, 278, STRIP_COUNTS),
    *(PLANAR, 292, 293, PREDICTOR, 318, 319, 320, TILE_WIDTH, 323, TILE_OFFSETS, TILE_COUNTS, 332),
    *(EXTRA_SAMPLES, SAMPLE_FORMAT, 347, 529, 530, 531, 532),
}
_MAX_PAGES = 10_000
_MAX_FIELDS = 65_535


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a directory: its values as bytes in the file's byte order."""

    tag: int
    kind: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """The first directory of a file. ``order`` is ``<`` or ``>``."""

    order: str
    entries: dict[int, Entry]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The field's integers; empty where it is absent or holds no integers."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.kind]}", entry.value)

    def number(self, tag: int, default: int) -> int:
        return next(iter(self.numbers(tag)), default)

    def with_numbers(self, **values: tuple[int, ...] | None) -> Page:
        """A copy with fields replaced by 32-bit integers, or removed (``None``); names as in this module."""
        entries = dict(self.entries)
        for name, numbers in values.items():
            tag = globals()[name]
            entries.pop(tag, None)
            if numbers is not None:
                packed = struct.pack(f"{self.order}{len(numbers)}I", *numbers)
                entries[tag] = Entry(tag, 4, len(numbers), packed)
        return replace(self, entries=entries)


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure."""
    page, pages = read_page(data, name)
    width, height = page.number(WIDTH, 0), page.number(HEIGHT, 0)
    if not width or not height:
        raise damaged(name, "the TIFF does not say how large its picture is")
    icc, xmp = page.entries.get(_ICC), page.entries.get(_XMP)
    notes = [f"several pages: first of {pages} kept"] if pages > 1 else []
    exif = collect_exif(data, page)
    meta = screen(icc.value if icc else None, exif, xmp.value if xmp else None, notes)
    depth = max(page.numbers(BITS), default=1)
    return Header("TIFF", width, height, pages, depth, orientation_of(meta.exif)), meta


def read_page(data: bytes, name: str) -> tuple[Page, int]:
    """The first directory and the number of pages; raises :class:`DecodeError`."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    if len(data) < (16 if big else 8):
        raise damaged(name, f"the TIFF ends at byte {len(data)}")
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    first, following = read_directory(data, order, at, big=big, name=name)
    seen = {at}
    while following and following not in seen and len(seen) < _MAX_PAGES:
        seen.add(following)
        try:
            _, following = read_directory(data, order, following, big=big, name=name, values=False)
        except DecodeError:
            break  # the first page is sound; how many more there would be is only for a note
    return Page(order, first), len(seen)


def read_directory(
    data: bytes, order: str, at: int, *, big: bool, name: str, values: bool = True
) -> tuple[dict[int, Entry], int]:
    """One directory's entries (without their values where ``values`` is false) and the next one's offset."""
    count_format, size = ("Q", 20) if big else ("H", 12)
    head = struct.calcsize(order + count_format)
    if at < 8 or at + head > len(data):
        raise damaged(name, f"a TIFF directory is said to be at byte {at} of {len(data)}")
    count = struct.unpack_from(order + count_format, data, at)[0]
    end = at + head + size * count
    word = "Q" if big else "I"
    if count > _MAX_FIELDS or end + struct.calcsize(word) > len(data):
        raise damaged(name, f"the TIFF directory at byte {at} with {count} entries runs out of the file")
    entries: dict[int, Entry] = {}
    total = 0
    if values:
        for field_at in range(at + head, end, size):
            entry = _entry(data, order, field_at, big=big)
            if entry is not None:
                entries.setdefault(entry.tag, entry)
                total += len(entry.value)
            if total > len(data):  # values that share bytes: a few bytes of fields could ask for any amount
                raise damaged(name, f"the TIFF directory at byte {at} claims more values than the file has")
    return entries, struct.unpack_from(order + word, data, end)[0]


def _entry(data: bytes, order: str, at: int, *, big: bool) -> Entry | None:
    """A field with its values, or ``None`` where its type is unknown or its values lie outside the file."""
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
    size = TYPE_SIZES.get(kind, 0) * count
    if not size or size > len(data):
        return None
    inline, word, value_at = (8, "Q", at + 12) if big else (4, "I", at + 8)
    if size > inline:
        value_at = struct.unpack_from(order + word, data, value_at)[0]
    value = data[value_at : value_at + size]
    return Entry(tag, kind, count, value) if len(value) == size else None


def pixel_file(data: bytes, page: Page) -> bytes:
    """A classic TIFF of one page: ``data`` as it lies, then a directory with only the pixels' fields."""
    fields = sorted((e for tag, e in page.entries.items() if tag in _PIXEL_TAGS), key=lambda e: e.tag)
    start = len(data) + len(data) % 2
    body, spill = bytearray(struct.pack(page.order + "H", len(fields))), bytearray()
    spill_at = start + 2 + 12 * len(fields) + 4
    for entry in fields:
        kind, value = entry.kind, entry.value
        if kind in (16, 17):  # BigTIFF's 64-bit numbers
            kind, value = 4, struct.pack(f"{page.order}{entry.count}I", *page.numbers(entry.tag))
        body += struct.pack(page.order + "HHI", entry.tag, kind, entry.count)
        if len(value) <= 4:
            body += value.ljust(4, b"\0")
        else:
            body += struct.pack(page.order + "I", spill_at + len(spill))
            spill += value + b"\0" * (len(value) % 2)
    magic = (b"II*\0" if page.order == "<" else b"MM\0*") + struct.pack(page.order + "I", start)
    pad = b"\0" * (start - len(data))
    return b"".join([magic, memoryview(data)[8:], pad, body, b"\0\0\0\0", spill])
