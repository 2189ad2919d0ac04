"""EXIF, XMP and ICC blocks as bytes: validity, orientation, and the size that EXIF states.

An EXIF block is a small TIFF file (CIPA DC-008): byte order, magic 42, offset of its first directory.
"""

from __future__ import annotations

import re
import struct

from imgpipe.images.container import Metadata

#: Larger blocks are left out, with a note: they would be written again beside every output.
MAX_BLOCK_BYTES = 4 * 1024 * 1024

ORIENTATION_TAG = 274
EXIF_DIRECTORY_TAG = 0x8769
_GPS_DIRECTORY_TAG = 0x8825
_SHORT, _LONG, _RATIONAL = 3, 4, 5

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8](?=\s*[\"'<])")


def screen(icc: bytes | None, exif: bytes | None, xmp: bytes | None, notes: list[str]) -> Metadata:
    """The blocks that can be carried; what cannot is left out and named in the notes."""
    notes = list(notes)
    exif = exif.removeprefix(b"Exif\0\0") if exif else None
    if icc and (why := icc_fault(icc)):
        notes.append(f"ICC profile of {len(icc)} bytes not carried: {why}")
        icc = None
    if exif and (why := exif_fault(exif)):
        notes.append(f"EXIF block of {len(exif)} bytes not carried: {why}")
        exif = None
    if xmp and len(xmp) > MAX_BLOCK_BYTES:
        notes.append(f"XMP packet of {len(xmp)} bytes not carried: over {MAX_BLOCK_BYTES}")
        xmp = None
    return Metadata(icc or None, exif or None, xmp or None, notes=tuple(notes))


def icc_fault(icc: bytes) -> str:
    """Why these bytes are no usable ICC profile (ICC.1, section 7.2), or ``""``."""
    if len(icc) > MAX_BLOCK_BYTES:
        return f"over {MAX_BLOCK_BYTES} bytes"
    if len(icc) < 132 or icc[36:40] != b"acsp":
        return "it is no ICC profile"
    if int.from_bytes(icc[:4], "big") > len(icc):
        return f"its header says {int.from_bytes(icc[:4], 'big')} bytes"
    return ""


def icc_space(icc: bytes | None) -> str:
    """The colour space a profile is for: ``GRAY``, ``RGB``, ``CMYK``, ...; empty without a profile."""
    return icc[16:20].decode("latin-1").strip() if icc else ""


def exif_fault(exif: bytes) -> str:
    """Why the EXIF block cannot be read, or ``""``."""
    if len(exif) > MAX_BLOCK_BYTES:
        return f"over {MAX_BLOCK_BYTES} bytes"
    order = byte_order(exif)
    if not order or len(exif) < 14:
        return "it does not start with a byte order"
    at = struct.unpack_from(order + "I", exif, 4)[0]
    if at < 8 or at + 2 > len(exif):
        return f"its first directory is said to be at byte {at}"
    count = struct.unpack_from(order + "H", exif, at)[0]
    if at + 2 + 12 * count > len(exif):
        return f"its first directory of {count} entries is cut off"
    return ""


def byte_order(exif: bytes) -> str:
    """``<`` or ``>`` as :mod:`struct` wants it; empty where the block is none."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4], "")


def orientation_of(exif: bytes | None) -> int:
    """1..8 from the EXIF block; 1 where there is none or the value is not one of these."""
    at = _orientation_at(exif) if exif else None
    if exif is None or at is None:
        return 1
    value: int = struct.unpack_from(byte_order(exif) + "H", exif, at)[0]
    return value if 1 <= value <= 8 else 1


def reset_exif_orientation(exif: bytes | None) -> bytes | None:
    """The same block with orientation 1, and XResolution and YResolution exchanged where that was a quarter
    turn, in place: every other byte stays."""
    at = _orientation_at(exif) if exif else None
    if exif is None or at is None:
        return exif
    block = bytearray(exif)
    struct.pack_into(byte_order(exif) + "H", block, at, 1)
    across, down = (_resolution_at(exif, tag) for tag in (282, 283))
    if orientation_of(exif) >= 5 and across and down:
        block[across : across + 8], block[down : down + 8] = exif[down : down + 8], exif[across : across + 8]
    return bytes(block)


def reset_xmp_orientation(xmp: bytes | None) -> bytes | None:
    """The same packet with ``tiff:Orientation`` 1; some programs prefer it to the EXIF tag."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else xmp


def with_exif_size(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The same block with its own statements of size saying ``width`` and ``height`` px: ImageWidth and
    ImageLength in its first directory, PixelXDimension and PixelYDimension in Exif's. What it does not say,
    or has no room for, is left; every other byte stays."""
    if exif is None or exif_fault(exif):
        return exif
    order = byte_order(exif)
    first: int = struct.unpack_from(order + "I", exif, 4)[0]
    places = [(first, 256, width), (first, 257, height)]
    inner = _entry(exif, first, EXIF_DIRECTORY_TAG)
    if inner is not None and inner[0] == _LONG:
        start = struct.unpack_from(order + "I", exif, inner[1])[0]
        places += [(start, 0xA002, width), (start, 0xA003, height)]
    block = bytearray(exif)
    for start, tag, value in places:
        found = _entry(exif, start, tag)
        if found is not None and (found[0] == _LONG or value <= 0xFFFF):
            struct.pack_into(order + ("I" if found[0] == _LONG else "H"), block, found[1], value)
    return bytes(block)


def without_exif_thumbnail(exif: bytes | None) -> bytes | None:
    """The same block without the small picture of its second directory: nothing refers to that any more, and
    its bytes are cut off at the end of the block, or zero. Every other byte stays in its place."""
    if exif is None or exif_fault(exif):
        return exif
    order = byte_order(exif)
    first: int = struct.unpack_from(order + "I", exif, 4)[0]
    link = first + 2 + 12 * struct.unpack_from(order + "H", exif, first)[0]
    second: int = struct.unpack_from(order + "I", exif, link)[0] if link + 4 <= len(exif) else 0
    if not second:
        return exif
    block = bytearray(exif)
    block[link : link + 4] = bytes(4)
    regions = _thumbnail_regions(exif, second)
    others = [_number(exif, first, tag) for tag in (EXIF_DIRECTORY_TAG, _GPS_DIRECTORY_TAG)]
    for start, end in sorted(regions, reverse=True):
        if start < link + 4 or end <= start or any(at is not None and start <= at < end for at in others):
            continue  # it would overwrite what is kept
        block[start:end] = bytes(len(block[start:end])) if end < len(block) else b""
    return bytes(block)


def without_xmp_thumbnails(xmp: bytes | None) -> bytes | None:
    """The same packet without ``xmp:Thumbnails``."""
    for prefix in (b"xmp", b"xap"):
        opening, closing = b"<" + prefix + b":Thumbnails", b"</" + prefix + b":Thumbnails>"
        while xmp and (start := xmp.find(opening)) >= 0 and (end := xmp.find(closing, start)) >= 0:
            xmp = xmp[:start] + xmp[end + len(closing) :]
    return xmp


def exif_of_dpi(dpi: tuple[float, float]) -> bytes:
    """A block that says nothing but the resolution, for formats without a field of their own."""
    rationals = struct.pack("<IIII", *(n for value in dpi for n in (round(value * 1000), 1000)))
    entries = [(282, 5, 1, 50), (283, 5, 1, 58), (296, _SHORT, 1, 2)]  # in inches
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + bytes(4) + rationals


def _thumbnail_regions(exif: bytes, second: int) -> list[tuple[int, int]]:
    """The second directory and what it says of its picture (JPEG, or one strip), as (start, end)."""
    order = byte_order(exif)
    if second + 2 > len(exif):
        return []
    count: int = struct.unpack_from(order + "H", exif, second)[0]
    regions = [(second, second + 2 + 12 * count + 4)]
    for place, length in ((0x201, 0x202), (273, 279)):
        start, size = _number(exif, second, place), _number(exif, second, length)
        if start and size:
            regions.append((start, start + size))
    return regions


def _number(exif: bytes, start: int, tag: int) -> int | None:
    found = _entry(exif, start, tag)
    if found is None:
        return None
    value: int = struct.unpack_from(byte_order(exif) + ("I" if found[0] == _LONG else "H"), exif, found[1])[0]
    return value


def _orientation_at(exif: bytes) -> int | None:
    """Offset of the orientation's SHORT value, or ``None``."""
    if exif_fault(exif):
        return None
    found = _entry(exif, struct.unpack_from(byte_order(exif) + "I", exif, 4)[0], ORIENTATION_TAG)
    return found[1] if found is not None and found[0] == _SHORT else None


def _resolution_at(exif: bytes, tag: int) -> int | None:
    """Offset of the RATIONAL of XResolution or YResolution, or ``None``."""
    order = byte_order(exif)
    found = _entry(exif, struct.unpack_from(order + "I", exif, 4)[0], tag, (_RATIONAL,))
    at: int = struct.unpack_from(order + "I", exif, found[1])[0] if found else len(exif)
    return at if 8 <= at <= len(exif) - 8 else None


def _entry(
    exif: bytes, start: int, wanted: int, kinds: tuple[int, ...] = (_SHORT, _LONG)
) -> tuple[int, int] | None:
    """(type, offset of the value) of a single value in the directory at ``start``, or ``None``."""
    order = byte_order(exif)
    if start < 8 or start + 2 > len(exif):
        return None
    for index in range(struct.unpack_from(order + "H", exif, start)[0]):
        at = start + 2 + 12 * index
        if at + 12 > len(exif):
            return None
        tag, kind, count = struct.unpack_from(order + "HHI", exif, at)
        if tag == wanted and kind in kinds and count == 1:
            return int(kind), int(at + 8)
    return None
