"""Lossless TIFF (6.0) with everything an Image holds: Deflate strips with differences, ICC, XMP, EXIF.

An EXIF block is itself a TIFF, so the file *is* that block with our directory behind it: its offsets, those
inside maker notes too, stay right, and its descriptive fields are taken over into the directory as they are.
(tifffile's writer refuses pointers to EXIF directories and always writes a resolution of 1/1.)
"""

from __future__ import annotations

import struct
import zlib

from imgpipe.errors import EncodeError
from imgpipe.images.formats.tiff import Field, Fields, described, pack_directory
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import byte_order, exif_fault

_ADOBE_DEFLATE = 8
_STRIP_BYTES = 1 << 20
_SHORT, _LONG, _UNDEFINED, _BYTE, _RATIONAL = 3, 4, 7, 1, 5


def write_tiff(image: Image, level: int) -> bytes:
    """``image`` as a TIFF; ``level`` is zlib's 1..9. Raises :class:`EncodeError` for a malformed EXIF block
    and for more than 4 GiB."""
    if image.exif is not None and (why := exif_fault(image.exif)):
        raise EncodeError(f"TIFF: expected a sound EXIF block, but {why}; drop it (exif=None)")
    order = byte_order(image.exif) if image.exif else "<"
    head = image.exif or b"II*\0\0\0\0\0"
    head += b"\0" * (len(head) % 2)
    rows = max(1, _STRIP_BYTES // max(1, image.pixels[0].nbytes))
    strips = _strips(image.pixels, order, rows, level)
    offsets, at = [], len(head)
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    if at > 0xF0000000:
        raise EncodeError(f"TIFF: expected at most 4 GiB, got {at} bytes; write PNG")
    fields = described(image.exif) if image.exif else {}
    fields |= _fields(image, order, rows, offsets, strips)
    pad = b"\0" * (at % 2)
    start = at + len(pad)
    directory = pack_directory(order, fields, start)
    return b"".join([head[:4], struct.pack(order + "I", start), head[8:], *strips, pad, directory])


def _strips(pixels: Pixels, order: str, rows: int, level: int) -> list[bytes]:
    """Deflated strips of differences to the pixel at the left (predictor 2)."""
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    stored = differences.astype(differences.dtype.newbyteorder("<" if order == "<" else ">"), copy=False)
    return [zlib.compress(stored[at : at + rows].tobytes(), level) for at in range(0, len(pixels), rows)]


def _fields(image: Image, order: str, rows: int, offsets: list[int], strips: list[bytes]) -> Fields:
    """The fields that describe the pixels, and ICC and XMP."""

    def numbers(kind: int, *values: int) -> Field:
        return Field(kind, len(values), struct.pack(f"{order}{len(values)}{'HI'[kind == _LONG]}", *values))

    fields = {
        256: numbers(_LONG, image.width),
        257: numbers(_LONG, image.height),
        258: numbers(_SHORT, *[image.bit_depth] * image.channels),
        259: numbers(_SHORT, _ADOBE_DEFLATE),
        262: numbers(_SHORT, 1 if image.channels <= 2 else 2),  # grey or RGB
        273: numbers(_LONG, *offsets),
        277: numbers(_SHORT, image.channels),
        278: numbers(_LONG, rows),
        279: numbers(_LONG, *map(len, strips)),
        284: numbers(_SHORT, 1),  # samples side by side
        317: numbers(_SHORT, 2),  # differences
    }
    if image.has_alpha:
        fields[338] = numbers(_SHORT, 2)  # unassociated: straight alpha
    if image.icc is not None:
        fields[34675] = Field(_UNDEFINED, len(image.icc), image.icc)
    if image.dpi is not None:
        for tag, value in zip((282, 283), image.dpi, strict=True):
            fields[tag] = Field(_RATIONAL, 1, struct.pack(order + "II", round(value * 1000), 1000))
        fields[296] = numbers(_SHORT, 2)  # per inch
    if image.xmp is not None:
        fields[700] = Field(_BYTE, len(image.xmp), image.xmp)
    return fields
