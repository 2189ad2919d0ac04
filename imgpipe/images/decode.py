"""Encoded bytes to :class:`~imgpipe.images.image.Image`; what is not kept is noted.

Limits are checked on the header; metadata is read by our own parsers; the decoders are libpng and libavif
(through imagecodecs), libjpeg-turbo, tifffile, our own for BMP, and Pillow for the rest. Those of PNG and
JPEG are given files without metadata. What a decoder raises becomes one of our errors.

A JPEG has no checksum: altered bits that make up another valid picture are not noticed. What libjpeg warns of
(data that ends early, codes that do not exist) is refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any, cast

import imagecodecs
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import WebPImagePlugin

from imgpipe.errors import LimitExceeded, UnsupportedFormat
from imgpipe.images import header as headers
from imgpipe.images.colour import fitted, to_8_bit
from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.formats import avif, bmp, gif, plugin, png, tiff_pixels
from imgpipe.images.formats.jpeg_pixels import decode_jpeg
from imgpipe.images.formats.jpeg_tables import coding
from imgpipe.images.image import Image, Pixels
from imgpipe.images.lcms import cmyk_to_rgb
from imgpipe.images.metadata import icc_space, reset_exif_orientation, reset_xmp_orientation, screen
from imgpipe.images.srgb import srgb_profile
from imgpipe.settings import LimitSettings

#: What Pillow, tifffile, imagecodecs and struct raise on damaged files.
_BACKEND_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, AttributeError),
    *(RuntimeError, AssertionError, struct.error, zlib.error, Warning),
)

_Array = npt.NDArray[Any]


def decode(data: bytes, *, name: str, limits: LimitSettings, pixels: Pixels | None = None) -> Image:
    """The (first) picture of an encoded image, upright.

    Pixels: (height, width, 1..4) C-contiguous RGB order, straight alpha. Grey, LA, RGB and RGBA stay what
    they are; palettes become RGB or RGBA; CMYK becomes sRGB through its profile and carries an sRGB profile.
    8 bits and less become uint8 full range, 10, 12 and 16 bits uint16 full range (v * 65535 / (2^bits - 1),
    rounded). ICC, EXIF and XMP are carried; the orientation is applied and reset to 1 in EXIF and XMP.
    Of animations and multi-page files: the first picture, with a note, or refused by ``limits.animated``;
    further pictures that cameras append to a JPEG (previews, gain maps) are only noted.
    ``pixels``: those that the file, a PNG, was written from: they are not unpacked again.

    Raises :class:`UnsupportedFormat`, :class:`LimitExceeded` and :class:`DecodeError`, whose messages start
    with ``name``; nothing else, whatever the bytes.
    """
    headers.check_data_size(len(data), limits, name)
    header, meta = headers.read(data, name)
    headers.check_limits(header, len(data), limits, name)
    headers.check_frames(header, limits, name)
    if header.format == "JPEG" and header.bit_depth != 8:
        raise UnsupportedFormat(
            f"{name}: expected a JPEG of 8 bits, got {header.bit_depth}; convert it to 16-bit PNG"
        )
    try:
        return _decode(data, header, meta, limits, name, pixels)
    except MemoryError as exc:
        raise _too_large(header, name) from exc
    except PIL.Image.DecompressionBombError as exc:
        raise LimitExceeded(
            f"{name}: expected at most 178,956,970 px, as the reader of {header.format} takes no more, got "
            f"{header.width}x{header.height}; convert it to PNG or TIFF, or reduce it"
        ) from exc
    except _BACKEND_ERRORS as exc:
        raise damaged(name, f"the {header.format} cannot be decoded ({exc})") from exc


def _decode(
    data: bytes, header: Header, meta: Metadata, limits: LimitSettings, name: str, known: Pixels | None
) -> Image:
    match header.format:
        case "PNG":
            pixels = _decode_png(data, header, name) if known is None else known
        case "TIFF":
            pixels, meta = _decode_tiff(data, header, meta, name)
        case "BMP" | "GIF":
            pixels, notes = (bmp if header.format == "BMP" else gif).read_pixels(data, name)
            meta = replace(meta, notes=meta.notes + notes)
        case "AVIF":
            pixels, meta = avif.decode_avif(data, header, meta, name)
        case "JPEG":
            pixels, meta = _decode_jpeg(data, header, meta, name)
        case "HEIC" | "JXL":
            with plugin.open_image(header.format, data, header.bit_depth, name) as opened:
                pixels, meta = _from_plugin(opened, meta)
        case _:
            pixels = _decode_webp(data, header, limits, name)
    if header.orientation != 1:
        pixels = _upright(pixels, header.orientation)
        meta = replace(meta, exif=reset_exif_orientation(meta.exif), xmp=reset_xmp_orientation(meta.xmp))
        if header.orientation >= 5 and meta.dpi is not None:
            meta = replace(meta, dpi=meta.dpi[::-1])
    upright = cast(Pixels, np.ascontiguousarray(pixels))
    quantised = coding(data, name) if header.format == "JPEG" and header.orientation == 1 else None
    image = Image(upright, meta.icc, meta.exif, meta.xmp, header.format, meta.notes, meta.dpi, quantised)
    return fitted(image)


def _decode_png(data: bytes, header: Header, name: str) -> _Array:
    try:
        pixels = imagecodecs.png_decode(png.pixel_file(data, name))
    except (imagecodecs.PngError, UnicodeError) as exc:  # where its message is no text
        raise png.diagnose(data, name) from exc
    return pixels.reshape(header.height, header.width, -1)


def _decode_jpeg(data: bytes, header: Header, meta: Metadata, name: str) -> tuple[_Array, Metadata]:
    pixels, space, notes = decode_jpeg(data, name)
    if pixels.shape[:2] != (header.height, header.width):
        raise damaged(
            name, f"the JPEG says {header.width}x{header.height} px and holds {pixels.shape[1::-1]}"
        )
    meta = replace(meta, notes=meta.notes + notes)
    return _converted_cmyk(pixels, meta) if space == "CMYK" else (pixels, meta)


def _decode_tiff(data: bytes, header: Header, meta: Metadata, name: str) -> tuple[_Array, Metadata]:
    pixels, is_cmyk, notes = tiff_pixels.read_pixels(data, header, name)
    meta = replace(meta, notes=meta.notes + notes)
    if not is_cmyk:
        return pixels, meta
    if pixels.dtype == np.uint16:
        meta = replace(meta, notes=(*meta.notes, "CMYK of 16 bits: colours converted in 8 bits"))
    rgb, meta = _converted_cmyk(to_8_bit(pixels[..., :4]), meta)
    return np.concatenate([rgb, to_8_bit(pixels[..., 4:])], axis=2), meta


def _decode_webp(data: bytes, header: Header, limits: LimitSettings, name: str) -> _Array:
    with WebPImagePlugin.WebPImageFile(io.BytesIO(data)) as opened:
        if opened.size != (header.width, header.height):
            actual = replace(header, width=opened.width, height=opened.height)
            headers.check_limits(actual, len(data), limits, name)
        opened.load()
        return _as_array(opened)


def _from_plugin(opened: PIL.Image.Image, meta: Metadata) -> tuple[_Array, Metadata]:
    info = opened.info
    exif, xmp = meta.exif or info.get("exif"), meta.xmp or info.get("xmp")
    meta = screen(info.get("icc_profile"), exif, xmp, list(meta.notes))
    # The plugins turn the picture upright themselves.
    meta = replace(meta, exif=reset_exif_orientation(meta.exif), xmp=reset_xmp_orientation(meta.xmp))
    return _as_array(opened), meta


def _as_array(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.array(image, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _converted_cmyk(cmyk: npt.NDArray[np.uint8], meta: Metadata) -> tuple[_Array, Metadata]:
    usable = meta.icc if icc_space(meta.icc) == "CMYK" else None
    rgb, note = cmyk_to_rgb(np.ascontiguousarray(cmyk), usable)
    return rgb, replace(meta, icc=srgb_profile(), notes=(*meta.notes, note))


def _upright(pixels: _Array, orientation: int) -> _Array:
    """Undo an EXIF orientation (CIPA DC-008, tag 274)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)  # what is stored as rows are columns
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _too_large(header: Header, name: str) -> LimitExceeded:
    return LimitExceeded(
        f"{name}: not enough memory for {header.width}x{header.height} px; "
        "lower `workers` or limits.max_pixels, or raise isolation.max_memory_bytes"
    )
