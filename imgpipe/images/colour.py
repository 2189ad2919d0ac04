"""Between stored integers and what algorithms work on: float32, premultiplied, luma, 8-bit sRGB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import PIL.Image

from imgpipe.errors import ImageError
from imgpipe.images import icc
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import icc_space

FloatArray = npt.NDArray[np.float32]

#: ITU-R BT.601 weights of R, G, B.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_BLOCK_VALUES = 1 << 16


def luma(rgb: FloatArray) -> FloatArray:
    """(..., 3) R'G'B' -> (...) Y' of ITU-R BT.601, full range, on the input's own scale."""
    if rgb.shape[-1] != 3:
        raise ImageError(f"luma: expected 3 channels in the last axis, got shape {rgb.shape}")
    return cast(FloatArray, rgb.astype(np.float32, copy=False) @ _LUMA)


def as_float(image: Image) -> FloatArray:
    """(height, width, channels) float32 in 0..1, straight alpha, the image's own channels."""
    return image.pixels.astype(np.float32) / np.float32(image.max_value)


def from_float(array: FloatArray, like: Image, has_alpha: bool) -> Image:
    """An image of ``array`` (height, width, 1..4; 0..1; straight alpha) in the dtype of ``like``.

    Clipped to 0..1 and rounded half up. Metadata, format and notes of ``like`` are carried; a profile for
    grey is dropped, with a note, where the array is in colour (and the other way round): it would be invalid.

    Raises :class:`ImageError` for another shape, for values that are not finite, and where ``has_alpha``
    contradicts the number of channels.
    """
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise ImageError(f"expected an array of shape (height, width, 1..4), got {array.shape}")
    if has_alpha != (array.shape[2] in (2, 4)):
        raise ImageError(f"expected 2 or 4 channels with alpha, 1 or 3 without, got {array.shape[2]}")
    pixels = np.empty(array.shape, like.pixels.dtype)
    scale = np.float32(like.max_value)
    for rows in _row_blocks(array):
        if not np.isfinite(array[rows]).all():
            bad = int(np.count_nonzero(~np.isfinite(array)))
            raise ImageError(f"expected finite values, {bad} of {array.size} are NaN or infinite")
        block = np.clip(array[rows], 0.0, 1.0, dtype=np.float32)
        block *= scale
        block += np.float32(0.5)
        pixels[rows] = block  # the conversion cuts off, which is the floor here
    profile, notes = _fitting_profile(like, grey=array.shape[2] <= 2)
    return Image(cast(Pixels, pixels), profile, like.exif, like.xmp, like.source_format, notes)


def premultiply(array: FloatArray) -> FloatArray:
    """(h, w, 2 or 4) straight -> premultiplied: colour * alpha; alpha stays."""
    result = array.astype(np.float32, copy=True)
    result[..., :-1] *= result[..., -1:]
    return result


def unpremultiply(array: FloatArray) -> FloatArray:
    """(h, w, 2 or 4) premultiplied -> straight; colour is 0 where alpha is 0 or less."""
    result = array.astype(np.float32, copy=True)
    for rows in _row_blocks(result):
        alpha = result[rows][..., -1]
        visible = alpha > 0
        divisor = np.where(visible, alpha, np.float32(1.0))
        for channel in range(result.shape[2] - 1):
            result[rows][..., channel] *= visible
            result[rows][..., channel] /= divisor
    return result


def composite_over(image: Image, background: tuple[float, float, float] | Image) -> FloatArray:
    """(height, width, 3) float32 R'G'B' in 0..255: the picture over a background.

    ``background``: a colour in 0..255 or a picture of the same size (its own alpha is ignored). Grey is
    repeated over three channels; 16 bits are scaled by 255/65535. Profiles play no part.

    Raises :class:`ImageError` where the background has another size.
    """
    front = as_float(image) * np.float32(255.0)
    colour = _three_channels(front[..., : image.channels - image.has_alpha])
    if not image.has_alpha:
        return colour
    if isinstance(background, Image):
        if (background.width, background.height) != (image.width, image.height):
            raise ImageError(
                f"expected a background of {image.width}x{image.height} px, "
                f"got {background.width}x{background.height}"
            )
        channels = background.channels - background.has_alpha
        behind = _three_channels(as_float(background)[..., :channels] * np.float32(255.0))
    else:
        behind = np.array(background, np.float32).reshape(1, 1, 3)
    alpha = front[..., -1:] / np.float32(255.0)
    return colour * alpha + behind * (np.float32(1.0) - alpha)


def to_srgb8(image: Image) -> npt.NDArray[np.uint8]:
    """(height, width, 3 or 4) uint8 sRGB, straight alpha: what networks are fed with.

    16 bits are rounded to 8 first. The ICC profile is honoured; no profile, one that cannot be read and one
    for another number of channels mean sRGB.
    """
    pixels = image.pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    colour = np.ascontiguousarray(pixels[..., : image.channels - image.has_alpha])
    rgb = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
    if not icc.is_srgb(image.icc):
        opened = PIL.Image.fromarray(colour[..., 0] if colour.shape[2] == 1 else colour)
        converted = icc.to_srgb(opened, image.icc)
        if converted is not None:
            rgb = np.array(converted, np.uint8)
    if not image.has_alpha:
        return np.ascontiguousarray(rgb, np.uint8)
    return np.concatenate([rgb, pixels[..., -1:]], axis=2).astype(np.uint8, copy=False)


def _row_blocks(array: FloatArray) -> Iterator[slice]:
    """Slices of rows that stay in the processor's cache while they are worked on."""
    step = max(1, _BLOCK_VALUES // max(1, array.shape[1] * array.shape[2]))
    for start in range(0, array.shape[0], step):
        yield slice(start, start + step)


def _three_channels(colour: FloatArray) -> FloatArray:
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def _fitting_profile(like: Image, *, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    space = icc_space(like.icc)
    was_grey = like.channels <= 2
    # A profile that already did not fit its picture is left alone: it is the source's own.
    if space == "GRAY" and was_grey and not grey:
        return None, (*like.notes, "ICC profile for grey dropped: the picture is now in colour")
    if space == "RGB" and not was_grey and grey:
        return None, (*like.notes, "ICC profile for colour dropped: the picture is now grey")
    return like.icc, like.notes
