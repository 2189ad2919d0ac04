"""Lossless TIFF (6.0) with everything an Image holds: Deflate strips with differences, ICC, XMP, EXIF.

An EXIF block is itself a TIFF, so the file *is* that block with our directory behind it: its offsets, those
inside maker notes too, stay right, and its descriptive fields are taken over into the directory as they are.
"""

from __future__ import annotations

import struct
import zlib

from imgpipe.errors import EncodeError
from imgpipe.images import tiff
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import byte_order, exif_fault
from imgpipe.images.tiff_exif import DESCRIPTIVE_TAGS, EXIF_POINTER, GPS_POINTER, directory

_ADOBE_DEFLATE = 8
_STRIP_BYTES = 1 << 20
_SHORT, _LONG, _UNDEFINED, _BYTE = 3, 4, 7, 1


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
    fields = _described(image.exif, order) | _fields(image, order, rows, offsets, strips)
    pad = b"\0" * (at % 2)
    start = at + len(pad)
    return b"".join(
        [head[:4], struct.pack(order + "I", start), head[8:], *strips, pad, directory(order, fields, start)]
    )


def _strips(pixels: Pixels, order: str, rows: int, level: int) -> list[bytes]:
    """Deflated strips of differences to the pixel at the left (predictor 2)."""
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    stored = differences.astype(differences.dtype.newbyteorder("<" if order == "<" else ">"), copy=False)
    return [zlib.compress(stored[at : at + rows].tobytes(), level) for at in range(0, len(pixels), rows)]


def _fields(
    image: Image, order: str, rows: int, offsets: list[int], strips: list[bytes]
) -> dict[int, tuple[int, int, bytes]]:
    """The fields that describe the pixels, and ICC and XMP."""

    def numbers(kind: int, *values: int) -> tuple[int, int, bytes]:
        return kind, len(values), struct.pack(f"{order}{len(values)}{'HI'[kind == _LONG]}", *values)

    channels = image.channels
    fields = {
        tiff.WIDTH: numbers(_LONG, image.width),
        tiff.HEIGHT: numbers(_LONG, image.height),
        tiff.BITS: numbers(_SHORT, *[image.bit_depth] * channels),
        tiff.COMPRESSION: numbers(_SHORT, _ADOBE_DEFLATE),
        tiff.PHOTOMETRIC: numbers(_SHORT, 1 if channels <= 2 else 2),
        tiff.STRIP_OFFSETS: numbers(_LONG, *offsets),
        tiff.SAMPLES: numbers(_SHORT, channels),
        278: numbers(_LONG, rows),
        tiff.STRIP_COUNTS: numbers(_LONG, *map(len, strips)),
        tiff.PLANAR: numbers(_SHORT, 1),
        tiff.PREDICTOR: numbers(_SHORT, 2),
    }
    if image.has_alpha:
        fields[tiff.EXTRA_SAMPLES] = numbers(_SHORT, 2)  # unassociated: straight alpha
    if image.icc is not None:
        fields[34675] = (_UNDEFINED, len(image.icc), image.icc)
    if image.xmp is not None:
        fields[700] = (_BYTE, len(image.xmp), image.xmp)
    return fields


def _described(exif: bytes | None, order: str) -> dict[int, tuple[int, int, bytes]]:
    """The descriptive fields of the block's first directory, and its pointers with their offsets."""
    if exif is None:
        return {}
    start = struct.unpack_from(order + "I", exif, 4)[0]
    entries, _ = tiff.read_directory(exif, order, start, big=False, name="EXIF")
    wanted = DESCRIPTIVE_TAGS | {EXIF_POINTER, GPS_POINTER}
    return {tag: (e.kind, e.count, e.value) for tag, e in entries.items() if tag in wanted}
