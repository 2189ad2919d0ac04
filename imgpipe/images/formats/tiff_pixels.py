"""TIFF pixels, decoded by tifffile and imagecodecs within bounds that are checked first.

tifffile takes strips that are missing for empty ones, and its codecs allocate what a strip says. So the
layout, the strips' places and the sizes that embedded pictures state are compared with the header, whose size
is within the limits.
"""

from __future__ import annotations

import io
import logging
import math
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Jpeg2KImagePlugin

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.container import Header, damaged, full_range
from imgpipe.images.formats import jpeg, webp

# What it logs is either harmless or in the exceptions raised here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

#: Photometric interpretation -> number of colour samples: grey (0: white is zero), RGB, palette, CMYK, YCbCr.
_COLOUR_SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCBCR = 0, 3, 5, 6
_JPEG, _JPEG_2000, _WEBP = 7, 34712, 50001
#: None, CCITT, LZW, JPEG, Deflate (two numbers), PackBits, JPEG 2000, LZMA, ZSTD, WebP.
_COMPRESSIONS = {1, 2, 3, 4, 5, _JPEG, 8, 32946, 32773, _JPEG_2000, 34925, 50000, _WEBP}
#: CMYK, alpha and one more.
_MAX_SAMPLES = 6
_COLOUR_MAP = 320
#: Tiles may be larger than a small picture.
_SPARE_TILE_PX = 1 << 22

Samples = npt.NDArray[Any]


def read_pixels(data: bytes, header: Header, name: str) -> tuple[Samples, bool, tuple[str, ...]]:
    """((height, width, 1..4) uint8 or uint16 samples, whether they are CMYK, notes) of the first page.

    Grey is 0 = black, alpha straight; palettes become RGB, 1 to 7 bits are spread over 0..255, 9 to 15 bits
    over 0..65535. ``data`` has passed :func:`imgpipe.images.formats.tiff.read`, which gave ``header``.

    Raises :class:`UnsupportedFormat` for other layouts than unsigned grey, RGB, CMYK, YCbCr and palettes,
    :class:`DecodeError` and the decoders' own exceptions for damaged data.
    """
    with tifffile.TiffFile(io.BytesIO(data), is_lsm=False, is_ndpi=False, is_scanimage=False) as opened:
        page = opened.pages.first
        _check_layout(page, header, name)
        _check_segments(data, page, name)
        if page.photometric == _YCBCR and page.compression != _JPEG:
            return imagecodecs.tiff_decode(data, asrgb=True)[..., :3], False, ()
        stored = page.asarray(maxworkers=1)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        stored = np.moveaxis(stored, 0, -1)
    samples = stored.reshape(header.height, header.width, -1)
    if page.photometric == _PALETTE:
        return _colour_map(page)[samples[..., 0]], False, ()
    if page.bitspersample not in (8, 16):
        samples = full_range(samples.view(np.uint8) if samples.dtype == bool else samples, page.bitspersample)
    if page.photometric == _WHITE_IS_ZERO:
        samples = samples.copy()
        samples[..., :1] = np.iinfo(samples.dtype).max - samples[..., :1]
    return _with_alpha(samples, page)


def _check_layout(page: tifffile.TiffPage, header: Header, name: str) -> None:
    bits, samples = page.bitspersample, page.samplesperpixel
    colours = _COLOUR_SAMPLES.get(page.photometric, _MAX_SAMPLES + 1)
    most = colours if page.photometric in (_PALETTE, _YCBCR) else _MAX_SAMPLES
    supported = (
        isinstance(bits, int)
        and 1 <= bits <= (8 if page.photometric in (_PALETTE, _YCBCR) else 16)
        and colours <= samples <= most
        and page.sampleformat == 1
        and page.compression in _COMPRESSIONS
        and page.imagedepth == 1
    )
    if not supported:
        compression = getattr(page.compression, "name", page.compression)
        raise UnsupportedFormat(
            f"{name}: expected a TIFF of grey, RGB, CMYK, YCbCr or a palette with unsigned samples of up to "
            f"16 bits, got {samples} samples of {bits} bits, photometric {page.photometric:d}, sample format "
            f"{page.sampleformat}, compression {compression}; convert it"
        )
    if (page.imagewidth, page.imagelength) != (header.width, header.height):
        raise damaged(name, f"the TIFF says {header.width}x{header.height} px and holds {page.shape}")


def _check_segments(data: bytes, page: tifffile.TiffPage, name: str) -> None:
    """All strips or tiles lie within the file, and none claims to be much larger than the picture."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    count = math.prod(page.chunked)
    if len(places) != count or not all(at and size and at + size <= len(data) for at, size in places):
        raise damaged(name, f"the TIFF's {count} strips or tiles do not all lie within the file")
    segment_px = page.tilewidth * page.tilelength if page.is_tiled else page.imagewidth * page.rowsperstrip
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if segment_px * count > planes * (4 * page.imagewidth * page.imagelength + _SPARE_TILE_PX):
        raise damaged(name, f"the TIFF's {count} tiles of {segment_px} px are too large for its picture")
    if page.compression in (_JPEG, _JPEG_2000, _WEBP):
        for at, size in places:
            width, height = _embedded_size(data[at : at + size], page.compression, name)
            if width * height > segment_px:
                raise damaged(name, f"a TIFF strip of {segment_px} px holds a picture of {width}x{height} px")


def _embedded_size(data: bytes, compression: int, name: str) -> tuple[int, int]:
    """(width, height) px that a strip says of itself."""
    if compression == _JPEG_2000:
        return Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(data)).size
    header, _ = (jpeg if compression == _JPEG else webp).read(data, name)
    return header.width, header.height


def _colour_map(page: tifffile.TiffPage) -> npt.NDArray[np.uint8]:
    """(2^bits, 3) colours. Values of 16 bits, as TIFF 6.0 has them; where none is above 255, of 8 bits."""
    stored: npt.NDArray[np.uint16] = page.tags[_COLOUR_MAP].value
    colours = stored.reshape(3, 1 << page.bitspersample).T
    return (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)


def _with_alpha(samples: Samples, page: tifffile.TiffPage) -> tuple[Samples, bool, tuple[str, ...]]:
    """Colour and its alpha made straight; further samples are left out and named."""
    colours = _COLOUR_SAMPLES[page.photometric]
    extra = samples.shape[2] - colours
    cmyk = page.photometric == _CMYK
    # Without the field, a lone extra sample is alpha by custom; kind 0 says that it is none.
    kind = (page.extrasamples[0] if page.extrasamples else 2) if extra else 0
    notes: tuple[str, ...] = ()
    if kind not in (1, 2) or cmyk:
        if extra:
            notes = (f"{extra} TIFF samples that are not colour left out",)
        return np.ascontiguousarray(samples[..., :colours]), cmyk, notes
    if extra > 1:
        notes = (f"{extra - 1} TIFF samples that are neither colour nor alpha left out",)
    samples = np.ascontiguousarray(samples[..., : colours + 1])
    if kind == 1:
        _unpremultiply(samples)
    return samples, cmyk, notes


def _unpremultiply(samples: Samples) -> None:
    """In place, rounded to nearest; colour under alpha 0 becomes 0."""
    top = int(np.iinfo(samples.dtype).max)
    alpha = samples[..., -1:].astype(np.uint64)
    colour = (samples[..., :-1].astype(np.uint64) * top + alpha // 2) // np.maximum(alpha, 1)
    samples[..., :-1] = np.where(alpha == 0, 0, np.minimum(colour, top))
