"""Stored integers as float32 over a background, as luma, as 8-bit values and as sRGB."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import PIL.Image

from imgpipe.errors import ImageError
from imgpipe.images import icc
from imgpipe.images.image import Image, Pixels

FloatArray = npt.NDArray[np.float32]
_Value = TypeVar("_Value", bound=np.generic)

#: ITU-R BT.601 weights of R, G, B.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def luma(rgb: FloatArray) -> FloatArray:
    """(..., 3) R'G'B' -> (...) Y' of ITU-R BT.601, full range, on the input's own scale."""
    if rgb.shape[-1] != 3:
        raise ImageError(f"luma: expected 3 channels in the last axis, got shape {rgb.shape}")
    return cast(FloatArray, rgb.astype(np.float32, copy=False) @ _LUMA)


def composite_over(image: Image, background: tuple[float, float, float] | FloatArray) -> FloatArray:
    """(height, width, 3) float32 R'G'B' in 0..255: the picture over a background.

    ``background``: a colour in 0..255 or (height, width, 3) of them. Grey is repeated over three channels;
    16 bits are scaled by 255/65535. Profiles are ignored.
    """
    front = image.pixels.astype(np.float32) / np.float32(image.max_value) * np.float32(255.0)
    colour = three_channels(front[..., : image.channels - image.has_alpha])
    if not image.has_alpha:
        return colour
    alpha = front[..., -1:] / np.float32(255.0)
    return colour * alpha + np.asarray(background, np.float32) * (np.float32(1.0) - alpha)


def to_srgb8(image: Image) -> npt.NDArray[np.uint8]:
    """(height, width, 3 or 4) uint8 sRGB, straight alpha: what networks are fed with.

    16 bits are rounded to 8 first. The ICC profile is honoured; no profile, one that cannot be read and one
    for another number of channels mean sRGB.
    """
    pixels = to_8_bit(image.pixels)
    colour = np.ascontiguousarray(pixels[..., : image.channels - image.has_alpha])
    rgb = three_channels(colour)
    if not icc.is_srgb(image.icc):
        opened = PIL.Image.fromarray(colour[..., 0] if colour.shape[2] == 1 else colour)
        converted = icc.to_srgb(opened, image.icc)
        if converted is not None:
            rgb = np.array(converted, np.uint8)
    if not image.has_alpha:
        return np.ascontiguousarray(rgb, np.uint8)
    return np.concatenate([rgb, pixels[..., -1:]], axis=2).astype(np.uint8, copy=False)


def to_8_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """16-bit values divided by 257 and rounded; 8-bit ones as they are."""
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def three_channels(colour: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
    """(height, width, 1 or 3) -> (height, width, 3): grey is repeated."""
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
