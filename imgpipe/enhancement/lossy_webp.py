"""Lossy WebP for opaque pictures, with profile and metadata."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from imgpipe.errors import EncodeError
from imgpipe.images.image import Image
from imgpipe.images.metadata import icc_space

_MAX_SIDE = 16383
#: libwebp's effort 0..6; more than 4 costs twice the time for 1% of the bytes.
_METHOD = 4


def encode_lossy_webp(image: Image, quality: int) -> bytes:
    """A WebP (VP8) at ``quality`` 90..100 with ICC, EXIF and XMP; 8-bit grey or RGB, grey comes back as RGB.

    The format's chroma has half the resolution (4:2:0): thin saturated lines lose colour, not brightness.
    The same image and libraries give the same bytes. Raises :class:`EncodeError` where the format cannot
    hold the picture; alpha is never given to it.
    """
    if not 90 <= quality <= 100:
        raise EncodeError(f"WebP: expected a quality of 90..100, got {quality}")
    if image.has_alpha:
        raise EncodeError("lossy WebP: expected an image without alpha; write lossless WebP or PNG")
    if image.bit_depth != 8:
        raise EncodeError(f"WebP: expected 8 bits per channel, got {image.bit_depth}; write PNG")
    if max(image.width, image.height) > _MAX_SIDE:
        raise EncodeError(
            f"WebP: expected sides of at most {_MAX_SIDE} px, got {image.width}x{image.height}; write PNG"
        )
    if icc_space(image.icc) == "GRAY":
        raise EncodeError("WebP: expected no profile or one for RGB, got one for grey; write PNG")
    pixels = np.repeat(image.pixels, 3, axis=2) if image.channels == 1 else image.pixels
    buffer = io.BytesIO()
    try:
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(
            buffer,
            "WEBP",
            quality=quality,
            method=_METHOD,
            icc_profile=image.icc or b"",
            exif=image.exif or b"",
            xmp=image.xmp or b"",
        )
    except (OSError, ValueError, MemoryError) as exc:
        raise EncodeError(
            f"WebP: the encoder refused {image.width}x{image.height} px ({exc!r}); write PNG"
        ) from exc
    return buffer.getvalue()
