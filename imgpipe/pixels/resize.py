"""Resizing in float32, premultiplied, antialiased in both directions.

OpenCV's area average reduces and its bilinear interpolation enlarges (``area``); Pillow's convolution and
the weights of :mod:`imgpipe.pixels.axis_filter` do Lanczos and bicubic in strips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from imgpipe.errors import ImageError
from imgpipe.images.image import Image, Pixels
from imgpipe.pixels.alpha import resize_alpha
from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.strips import spans

#: Pixels of the result that are held in float at once; rows that are mixed along the columns at once.
STRIP_PIXELS, _BAND_ROWS = 2**19, 16

Kernel = Literal["area", "lanczos", "bicubic"]
FloatArray = npt.NDArray[np.float32]

_PILLOW_KERNELS = {"lanczos": PIL.Image.Resampling.LANCZOS, "bicubic": PIL.Image.Resampling.BICUBIC}


def resize(image: Image, width: int, height: int, kernel: Kernel, *, colourless_levels: float = 0.0) -> Image:
    """``image`` at ``width`` x ``height`` px; channels, bit depth, profile and metadata stay.

    Colours are premultiplied by alpha while they are mixed (Porter and Duff, 1984), so that no colour of
    invisible pixels bleeds into visible ones; colour under alpha 0 becomes 0. Alpha is resized without the
    ringing of Lanczos and bicubic (:func:`imgpipe.pixels.alpha.resize_alpha`). Results are clipped and
    rounded half up. The same size returns the same picture, unchanged. ``colourless_levels``: colour becomes
    0 up to this alpha before rounding, in levels of the bit depth (1 makes smaller files).

    Works in strips (``area`` excepted): beside both pictures it holds :data:`STRIP_PIXELS` of them in
    float. Raises :class:`ImageError` for sizes below 1 px.
    """
    if (width, height) == (image.width, image.height):
        return image
    _refuse_size(width, height)
    shape = (height, width, image.channels)
    pixels = cast(Pixels, np.empty(shape, image.pixels.dtype))
    if image.alpha is not None and kernel != "area":
        resize_alpha(image.alpha, width, height, image.pixels.dtype, kernel, out=pixels[..., -1])
    for rows, layers in _strips(image, width, height, kernel):
        if image.alpha is None:
            pixels[rows] = _to_levels(layers, image)
        else:
            own_alpha = None if kernel == "area" else pixels[rows, :, -1]
            pixels[rows] = _straight(layers, image, own_alpha, colourless_levels)
    return replace(image, pixels=pixels)


def _straight(
    layers: FloatArray, image: Image, alpha_levels: Pixels | None, colourless_levels: float
) -> Pixels:
    """Levels (rows, width, channels) of premultiplied colours with alpha in 0..1 last.

    The colour is divided by the same alpha that it was mixed with, ringing included; the result's own alpha
    is ``alpha_levels``, the one without ringing, or where that is ``None`` the mixed one.
    """
    mixed_alpha = layers[..., -1:]
    full = np.float32(image.max_value)
    visible = mixed_alpha > colourless_levels / full
    colour = np.divide(layers[..., :-1], mixed_alpha, out=np.zeros_like(layers[..., :-1]), where=visible)
    levels = _to_levels(colour, image)
    if alpha_levels is None:
        alpha_levels = _to_levels(mixed_alpha[..., 0] * full, image)
    levels[alpha_levels == 0] = 0
    return cast(Pixels, np.concatenate([levels, alpha_levels[..., None]], axis=2))


def _layers(image: Image, rows: slice) -> FloatArray:
    """Rows as float32 on the image's own levels; with alpha premultiplied, and alpha in 0..1 last."""
    part = image.pixels[rows].astype(np.float32)
    if image.has_alpha:
        part[..., -1] /= np.float32(image.max_value)
        part[..., :-1] *= part[..., -1:]
    return part


def _strips(image: Image, width: int, height: int, kernel: Kernel) -> Iterator[tuple[slice, FloatArray]]:
    """(rows of the result, their layers); the area filter makes all of them at once.

    Pillow resamples along the rows, a product with the kernel's weights in float64 along the columns: what
    Pillow does for a whole picture, to the last bit but one.
    """
    if kernel == "area":
        yield slice(0, height), resize_array(_layers(image, slice(None)), width, height, kernel)
        return
    vertical = AxisFilter(image.height, height, kernel)
    for strip in spans(0, height, max(_BAND_ROWS, STRIP_PIXELS // max(width, image.width))):
        needed = vertical.needs(strip)
        source = _layers(image, needed)
        across = _by_pillow(source, width, len(source), kernel) if width != image.width else source
        for rows in spans(strip.start, strip.stop, _BAND_ROWS):
            if height == image.height:
                yield rows, across[rows.start - needed.start : rows.stop - needed.start]
                continue
            used = vertical.needs(rows)
            samples = across[used.start - needed.start : used.stop - needed.start].astype(np.float64)
            mixed = vertical.exact_matrix(rows) @ samples.reshape(len(samples), -1)
            yield rows, mixed.astype(np.float32).reshape(-1, width, image.channels)


def _to_levels(values: FloatArray, image: Image) -> Pixels:
    levels: Pixels = np.floor(np.clip(values + 0.5, 0, image.max_value)).astype(image.pixels.dtype)
    return levels


def resize_array(array: FloatArray | Pixels, width: int, height: int, kernel: Kernel) -> FloatArray:
    """(h, w, c) -> (height, width, c) float32, each channel by itself, nothing clipped.

    ``area``: the exact mean over each target pixel's area where an axis shrinks, bilinear where it grows.
    ``lanczos`` (a = 3) and ``bicubic`` (a = -0.5): the kernel is widened by the factor of reduction, so that
    reduction antialiases. Borders: the kernel is cut off and renormalised.

    Raises :class:`ImageError` for sizes below 1 px and shapes other than (h, w, c).
    """
    if array.ndim != 3 or min(array.shape) < 1:
        raise ImageError(f"resize: expected an array of shape (height, width, channels), got {array.shape}")
    _refuse_size(width, height)
    source = np.ascontiguousarray(array, np.float32)
    if kernel == "area":
        smaller = area_average(source, (min(width, source.shape[1]), min(height, source.shape[0])))
        return cv2_resize(smaller, (width, height), cv2.INTER_LINEAR)
    return _by_pillow(source, width, height, kernel)


def _refuse_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"resize: expected a size of at least 1x1 px, got {width}x{height}")


def _by_pillow(source: FloatArray, width: int, height: int, kernel: Kernel) -> FloatArray:
    """By Pillow, a channel at a time."""
    method = _PILLOW_KERNELS[kernel]
    result = np.empty((height, width, source.shape[2]), np.float32)
    for channel in range(source.shape[2]):
        plane = PIL.Image.fromarray(np.ascontiguousarray(source[..., channel]))
        result[..., channel] = np.asarray(plane.resize((width, height), method))
    return result


def area_average(values: FloatArray | Pixels, size: tuple[int, int]) -> FloatArray:
    """``values`` (height, width[, channels]) averaged down to ``size`` = (width, height), float32.

    Computed in float32 whatever the input: on integers OpenCV rounds means of four up by an eighth on
    average. Raises :class:`ValueError` where a side would grow.
    """
    width, height = size
    if width > values.shape[1] or height > values.shape[0]:
        raise ValueError(
            f"area averaging cannot enlarge {values.shape[1]}x{values.shape[0]} to {width}x{height}"
        )
    return cv2_resize(np.asarray(values, np.float32), size, cv2.INTER_AREA)


def halved(plane: FloatArray) -> FloatArray:
    """Means of 2x2 px of a (height, width) plane, without an odd last row or column."""
    height, width = (side // 2 for side in plane.shape)
    return area_average(plane[: 2 * height, : 2 * width], (width, height))


def cv2_resize(source: FloatArray, size: tuple[int, int], interpolation: int) -> FloatArray:
    """``cv2.resize`` to ``size`` = (width, height) that keeps a channel axis of 1, which OpenCV drops."""
    if (source.shape[1], source.shape[0]) == size:
        return source
    resized = cv2.resize(source, size, interpolation=interpolation)
    return np.asarray(resized, np.float32).reshape(size[1], size[0], *source.shape[2:])
