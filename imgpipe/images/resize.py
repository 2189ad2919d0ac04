"""Resampling, premultiplied and in float32, antialiased in both directions."""

from __future__ import annotations

from typing import Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from imgpipe.errors import ImageError
from imgpipe.images.colour import as_float, from_float, premultiply, unpremultiply
from imgpipe.images.image import Image

Kernel = Literal["area", "lanczos", "bicubic"]
FloatArray = npt.NDArray[np.float32]

_PILLOW_KERNELS = {"lanczos": PIL.Image.Resampling.LANCZOS, "bicubic": PIL.Image.Resampling.BICUBIC}


def resize(image: Image, width: int, height: int, kernel: Kernel) -> Image:
    """``image`` at ``width`` x ``height`` px in its own dtype, with its metadata.

    Colour is weighted by alpha, so that no colour of invisible pixels bleeds into visible ones; colour under
    alpha 0 becomes 0. Overshoot of Lanczos and bicubic is clipped when the result is quantised, which rounds
    half up: floor(x * max + 0.5). The same size returns the same picture, unchanged.

    Raises :class:`ImageError` for sizes below 1 px.
    """
    if (width, height) == (image.width, image.height):
        return image
    straight = as_float(image)
    if not image.has_alpha:
        return from_float(resize_array(straight, width, height, kernel), image, False)
    resized = resize_array(premultiply(straight), width, height, kernel)
    return from_float(unpremultiply(resized), image, True)


def resize_array(array: FloatArray, width: int, height: int, kernel: Kernel) -> FloatArray:
    """(h, w, c) float32 -> (height, width, c) float32, each channel by itself, nothing clipped.

    ``area``: the exact mean over each target pixel's area where an axis shrinks, bilinear where it grows.
    ``lanczos`` (a = 3) and ``bicubic`` (a = -0.5): the kernel is widened by the factor of reduction, so that
    reduction antialiases. Borders: the kernel is cut off and renormalised.

    Raises :class:`ImageError` for sizes below 1 px and shapes other than (h, w, c).
    """
    if array.ndim != 3 or min(array.shape) < 1:
        raise ImageError(f"resize: expected an array of shape (height, width, channels), got {array.shape}")
    if width < 1 or height < 1:
        raise ImageError(f"resize: expected a size of at least 1x1 px, got {width}x{height}")
    source = np.ascontiguousarray(array, np.float32)
    if kernel == "area":
        return _resize_area(source, width, height)
    method = _PILLOW_KERNELS[kernel]
    result = np.empty((height, width, source.shape[2]), np.float32)
    for channel in range(source.shape[2]):
        plane = PIL.Image.fromarray(np.ascontiguousarray(source[..., channel]))
        result[..., channel] = np.asarray(plane.resize((width, height), method))
    return result


def _resize_area(source: FloatArray, width: int, height: int) -> FloatArray:
    h, w, _ = source.shape
    smaller = min(w, width), min(h, height)
    if smaller != (w, h):
        source = _cv2_resize(source, smaller, cv2.INTER_AREA)
    if smaller != (width, height):
        source = _cv2_resize(source, (width, height), cv2.INTER_LINEAR)
    return source


def _cv2_resize(source: FloatArray, size: tuple[int, int], interpolation: int) -> FloatArray:
    """``size`` is (width, height); keeps the channel axis, which OpenCV drops where it is 1."""
    resized = cv2.resize(source, size, interpolation=interpolation)
    return cast(FloatArray, resized).reshape(size[1], size[0], source.shape[2])
