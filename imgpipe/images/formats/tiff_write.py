"""Lossless TIFF (6.0) with everything an Image holds: Deflate strips with differences, ICC, XMP, EXIF.

An EXIF block is itself a TIFF, so the file *is* that block with our directory behind it: its offsets, those
inside maker notes too, stay right, and its descriptive fields are taken over into the directory as they are.
(tifffile's writer refuses pointers to EXIF directories and always writes a resolution of 1/1.)
"""

from __future__ import annotations

import zlib

from imgpipe.errors import EncodeError
from imgpipe.images.directories import Field, Fields, Kind, Tag, pack_directory, pack_head
from imgpipe.images.formats.tiff import described
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import dpi_fields, exif_fault

_ADOBE_DEFLATE = 8
_STRIP_BYTES = 1 << 20


def write_tiff(image: Image, level: int) -> bytes:
    """``image`` as a TIFF; ``level`` is zlib's 1..9. Raises :class:`EncodeError` for a malformed EXIF block
    and for more than 4 GiB."""
    if image.exif is not None and (why := exif_fault(image.exif)):
        raise EncodeError(f"TIFF: expected a sound EXIF block, but {why}; drop it (exif=None)")
    head = image.exif or pack_head("<", 0)
    order = "<" if head[:2] == b"II" else ">"
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
    return b"".join([pack_head(order, start), head[8:], *strips, pad, directory])


def _strips(pixels: Pixels, order: str, rows: int, level: int) -> list[bytes]:
    """Deflated strips of differences to the pixel at the left (predictor 2)."""
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    stored = differences.astype(differences.dtype.newbyteorder("<" if order == "<" else ">"), copy=False)
    return [zlib.compress(stored[at : at + rows].tobytes(), level) for at in range(0, len(pixels), rows)]


def _fields(image: Image, order: str, rows: int, offsets: list[int], strips: list[bytes]) -> Fields:
    """The fields that describe the pixels, and ICC and XMP."""

    def numbers(kind: int, *values: int) -> Field:
        return Field.of(order, kind, *values)

    fields: Fields = {
        Tag.WIDTH: numbers(Kind.LONG, image.width),
        Tag.HEIGHT: numbers(Kind.LONG, image.height),
        Tag.BITS: numbers(Kind.SHORT, *[image.bit_depth] * image.channels),
        Tag.COMPRESSION: numbers(Kind.SHORT, _ADOBE_DEFLATE),
        Tag.PHOTOMETRIC: numbers(Kind.SHORT, 1 if image.channels <= 2 else 2),  # grey or RGB
        Tag.STRIP_OFFSETS: numbers(Kind.LONG, *offsets),
        Tag.SAMPLES: numbers(Kind.SHORT, image.channels),
        Tag.ROWS_PER_STRIP: numbers(Kind.LONG, rows),
        Tag.STRIP_SIZES: numbers(Kind.LONG, *map(len, strips)),
        Tag.PLANAR: numbers(Kind.SHORT, 1),  # samples side by side
        Tag.PREDICTOR: numbers(Kind.SHORT, 2),  # differences
    }
    if image.has_alpha:
        fields[Tag.EXTRA_SAMPLES] = numbers(Kind.SHORT, 2)  # unassociated: straight alpha
    if image.icc is not None:
        fields[Tag.ICC] = Field(Kind.UNDEFINED, len(image.icc), image.icc)
    if image.dpi is not None:
        fields |= dpi_fields(order, image.dpi)
    if image.xmp is not None:
        fields[Tag.XMP] = Field(Kind.BYTE, len(image.xmp), image.xmp)
    return fields
