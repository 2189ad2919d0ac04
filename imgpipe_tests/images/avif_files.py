"""AVIFs for the tests: libavif's, through Pillow, with boxes changed by hand."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

Boxes = list[tuple[bytes, bytes]]


def pillow_avif(pixels: npt.NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(
        buffer, "AVIF", **{"quality": 100, "subsampling": "4:4:4", "speed": 9, **options}
    )
    return buffer.getvalue()


def boxes(data: bytes) -> Boxes:
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def joined(parts: Boxes) -> bytes:
    return b"".join(struct.pack(">I4s", 8 + len(body), kind) + body for kind, body in parts)


def _rebuilt(data: bytes, change_meta: Any, behind: bytes = b"") -> bytes:
    """``data`` with its meta box's children changed, item places moved along, and bytes put behind."""
    top = boxes(data)
    before = next(body for kind, body in top if kind == b"meta")
    children = change_meta(boxes(before[4:]))
    moved = len(joined(children)) - len(before[4:])
    children = [(k, _moved(b, moved) if k == b"iloc" else b) for k, b in children]
    return joined([(k, before[:4] + joined(children)) if k == b"meta" else (k, b) for k, b in top]) + behind


def _locations(iloc: bytes) -> list[tuple[int, int]]:
    """(item, offset in the box of its only extent's offset and length), as libavif writes it."""
    assert iloc[:6] == b"\0\0\0\0\x44\0"
    return [
        (struct.unpack_from(">H", iloc, 8 + 14 * n)[0], 8 + 14 * n + 6)
        for n in range(struct.unpack_from(">H", iloc, 6)[0])
    ]


def _moved(iloc: bytes, by: int) -> bytes:
    changed = bytearray(iloc)
    for _, at in _locations(iloc):
        struct.pack_into(">I", changed, at, struct.unpack_from(">I", iloc, at)[0] + by)
    return bytes(changed)


def metadata_behind_pixels(data: bytes) -> bytes:
    """The EXIF and XMP items in a box behind the pixels, as libheif and Lightroom write them."""
    meta = dict(boxes(dict(boxes(data))[b"meta"][4:]))
    kinds = {struct.unpack_from(">H", infe, 4)[0]: infe[8:12] for _, infe in boxes(meta[b"iinf"][6:])}
    tail, iloc = b"", bytearray(meta[b"iloc"])
    for item, at in _locations(meta[b"iloc"]):
        if kinds[item] in (b"Exif", b"mime"):
            offset, length = struct.unpack_from(">II", iloc, at)
            struct.pack_into(">I", iloc, at, len(data) + 8 + len(tail))
            tail += data[offset : offset + length]
    assert tail
    return _rebuilt(
        data,
        lambda inner: [(k, bytes(iloc) if k == b"iloc" else b) for k, b in inner],
        joined([(b"mdat", tail)]),
    )


def with_wide_numbers(data: bytes) -> bytes:
    """The same file with the items' entries in version 3, whose numbers have four bytes."""

    def change(inner: Boxes) -> Boxes:
        listed = boxes(dict(inner)[b"iinf"][6:])
        wide = [(kind, b"\3" + body[1:4] + b"\0\0" + body[4:]) for kind, body in listed]
        return [(k, b[:6] + joined(wide) if k == b"iinf" else b) for k, b in inner]

    return _rebuilt(data, change)


def with_properties(data: bytes, *added: tuple[bytes, bytes], without: tuple[bytes, ...] = ()) -> bytes:
    """The primary item's properties with these behind them; ``without`` some kinds of its own."""

    def change(inner: Boxes) -> Boxes:
        (_, ipco), (_, ipma) = boxes(dict(inner)[b"iprp"])
        listed = [(b"free" if k in without else k, b) for k, b in boxes(ipco)]
        # Those that change the picture are marked as essential.
        numbers = bytes(
            len(listed) + 1 + n | (128 if kind in (b"clap", b"irot", b"imir") else 0)
            for n, (kind, _) in enumerate(added)
        )
        count = ipma[10]  # entries of the first item, which is the primary one
        own = bytes(n for n in ipma[11 : 11 + count] if listed[(n & 0x7F) - 1][0] != b"free")
        entry = ipma[:10] + bytes((len(own) + len(numbers),)) + own + numbers + ipma[11 + count :]
        made = joined([(b"ipco", joined([*listed, *added])), (b"ipma", entry)])
        return [(k, made if k == b"iprp" else b) for k, b in inner]

    return _rebuilt(data, change)


def clap(*numbers: tuple[int, int]) -> tuple[bytes, bytes]:
    """Width, height, horizontal and vertical offset, each as a fraction."""
    return b"clap", b"".join(struct.pack(">iI", *number) for number in numbers)


def nclx(primaries: int, transfer: int, matrix: int = 6, full: bool = True) -> tuple[bytes, bytes]:
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 128 * full)


def coordinates(height: int = 32, width: int = 48) -> npt.NDArray[np.uint8]:
    """Every pixel is told from its neighbours, by lossy codecs too."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 5, y * 7, (x + y) * 3]).astype(np.uint8)
