"""Stored integers as float32 over a background, as luma, as 8-bit values and as sRGB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from imgpipe.errors import ImageError, ProfileUnusable
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import icc_fault, icc_space
from imgpipe.images.rgb_space import SRGB_TOLERANCE_255, RgbSpace, space_of
from imgpipe.images.srgb import srgb_linear

FloatArray = npt.NDArray[np.float32]
_Value = TypeVar("_Value", bound=np.generic)

#: ITU-R BT.601 weights of R, G, B.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

#: Pixels that are converted at once: their planes stay in the cache.
_STRIP_PIXELS = 2**16


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


def fitted(image: Image) -> Image:
    """The picture with a profile that is for its pixels, or none; what was changed is noted.

    A profile that cannot be used is left out (:func:`profile_fault`). Grey with a profile for RGB is
    R = G = B, as browsers show it. It becomes RGB, unless the profile shows greys as sRGB does: then that is
    left out, since a grey file cannot hold one for RGB.
    """
    if image.icc is None:
        return image
    if fault := profile_fault(image):
        return replace(image, icc=None, notes=(*image.notes, fault))
    if image.channels > 2 or icc_space(image.icc) == "GRAY":
        return image
    space = space_of(image.icc)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    if space is None or np.abs(space.shown(greys) * 255 - greys).max() <= SRGB_TOLERANCE_255:
        note = "ICC profile for RGB not carried: this grey picture looks the same without it"
        return replace(image, icc=None, notes=(*image.notes, note))
    pixels = cast(Pixels, three_channels(cast(Any, image.pixels)))
    return replace(image, pixels=pixels, notes=(*image.notes, "grey with an ICC profile for RGB: made RGB"))


def profile_fault(image: Image) -> str:
    """Why the picture's profile cannot be used and its values count as sRGB's, in words, or ``""``."""
    if image.icc is None:
        return ""
    space, colours = icc_space(image.icc), "grey" if image.channels <= 2 else "RGB"
    fault = icc_fault(image.icc)
    if not fault and space != "RGB" and (space != "GRAY" or colours == "RGB"):
        fault = f"it is for {space}, the picture is {colours}"
    try:
        fault or space_of(image.icc)
    except ProfileUnusable as exc:
        fault = str(exc)
    said = f"ICC profile of {len(image.icc)} bytes not carried: {fault}; the colours are taken as sRGB"
    return said if fault else ""


def to_srgb(image: Image) -> Image:
    """The picture as an sRGB screen shows it, without a profile: the same bit depth, straight alpha, the
    channels of :func:`fitted`; the picture itself where it is sRGB.

    Relative colorimetric with black point compensation, in float32, rounded half up once; colours outside
    sRGB are clipped, as Little CMS does.
    """
    image = fitted(image)
    space = space_of(image.icc)
    if space is None:
        return image
    return replace(image, pixels=_in_srgb(image, space, image.pixels.dtype), icc=None)


def to_srgb8(image: Image) -> npt.NDArray[np.uint8]:
    """(height, width, 3 or 4) uint8 sRGB, straight alpha: what networks are fed with.

    The ICC profile is honoured before 16 bits are rounded to 8; else as :func:`to_srgb`.
    """
    image = fitted(image)
    space = space_of(image.icc)
    pixels = to_8_bit(image.pixels) if space is None else _in_srgb(image, space, np.dtype(np.uint8))
    return np.ascontiguousarray(three_channels(pixels))


def from_srgb(image: Image, icc: bytes | None) -> Image:
    """An sRGB picture in the space of a profile for RGB, which it carries: RGB or RGBA, 16 bits, clipped.

    The picture itself where the profile is sRGB's or there is none. Where it is a table, colours are
    approximate (:class:`~imgpipe.images.rgb_space.RgbSpace`).
    """
    space = space_of(icc)
    if space is None:
        return image
    pixels = np.empty((image.height, image.width, 3 + image.has_alpha), np.uint16)
    for rows in _strips(image):
        part = three_channels(image.pixels[rows]).astype(np.float32) / np.float32(image.max_value)
        pixels[rows, :, :3] = space.levels(srgb_linear(part[..., :3]))
        pixels[rows, :, 3:] = part[..., 3:] * np.float32(65535) + np.float32(0.5)
    return replace(image, pixels=pixels, icc=icc)


def _strips(image: Image) -> Iterator[slice]:
    step = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        yield slice(top, top + step)


def _in_srgb(image: Image, space: RgbSpace, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The picture's channels in sRGB, as ``dtype``."""
    colours = image.colour.shape[2]
    pixels: npt.NDArray[Any] = np.empty(image.pixels.shape, dtype)
    full = np.float32(np.iinfo(dtype).max)
    for rows in _strips(image):
        pixels[rows, :, :colours] = space.shown(image.colour[rows]) * full + np.float32(0.5)
    if image.alpha is not None:
        pixels[..., -1] = image.alpha if dtype == image.alpha.dtype else to_8_bit(image.alpha)
    return pixels


def to_8_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """16-bit values divided by 257 and rounded; 8-bit ones as they are."""
    if pixels.dtype == np.uint16:
        levels = np.minimum(pixels, 65535 - 128)  # In 16 bits; what is cut off is 255 all the same.
        levels += 128
        levels //= 257
        return levels.astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def three_channels(pixels: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
    """(height, width, 1..4) -> (height, width, 3 or 4): grey is repeated, alpha stays."""
    repeats = {1: [3], 2: [3, 1]}.get(pixels.shape[2])
    return pixels if repeats is None else np.repeat(pixels, repeats, axis=2)
