"""Where and by how much a result differs from its source, and the heat map that shows it.

Differences are on a fixed scale of 0..32 of 255 (larger values saturate), so that equal colours mean equal
differences on every picture. Colours: Turbo (Mikhailov, 2019).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.colour import to_srgb
from imgpipe.images.image import Image
from imgpipe.pixels.resize import area_average
from imgpipe.pixels.round_trip import (
    Float,
    Plane,
    common_size,
    inside_the_cutout,
    largest_channel,
    over_white,
    reduce_alpha,
    reduced_rgb,
    rgb_over,
)
from imgpipe.pixels.row_bands import Rows
from imgpipe.pixels.strips import spans

U8 = npt.NDArray[np.uint8]

#: The difference of the hottest colour, 1/255.
HEAT_RANGE_255 = 32.0
#: From this difference on, 1/255, the colour covers the grey picture.
_OPAQUE_FROM_255 = 4.0
#: Rows that are blended at once: their planes stay in the cache.
_STRIP_ROWS = 16


def difference(reference: Image, result: Image) -> Float:
    """Largest abs channel difference at the smaller picture's size, (height, width) float32, 0..255.

    Both as an sRGB screen shows them; the larger one is averaged by area. Pictures with alpha are compared
    over black and over white; the larger difference counts. An opaque reference and a cutout are compared
    inside the cutout.
    """
    size = common_size(reference, result)
    reference, result = inside_the_cutout(to_srgb(reference), to_srgb(result))
    before, after = reduced_rgb(reference, size), reduced_rgb(result, size)
    alphas = reduce_alpha(reference, size), reduce_alpha(result, size)
    largest = np.empty(before.shape[:2], np.float32)
    for rows in spans(0, size[1], _STRIP_ROWS):
        pair = before[rows], after[rows]
        largest[rows] = _largest_channel(*pair)
        if any(alpha is not None for alpha in alphas):
            lighter = (over_white(rgb, alpha, rows) for rgb, alpha in zip(pair, alphas, strict=True))
            np.maximum(largest[rows], _largest_channel(*lighter), out=largest[rows])
    return largest


def larger_difference(before: Rows, after: Rows, other: Float | None) -> Float:
    """Largest abs channel difference of two (height, width, 3) pictures, or ``other``, (height, width) over
    another background, where that is larger; it is changed."""
    largest = np.zeros(before.shape[:2], np.float32) if other is None else other
    for rows in spans(0, len(largest), _STRIP_ROWS):
        np.maximum(largest[rows], _largest_channel(before[rows], after[rows]), out=largest[rows])
    return largest


def _largest_channel(before: Plane, after: Plane) -> Float:
    return largest_channel(cv2.absdiff(before, after))


def max_pool(values: Float, size: tuple[int, int]) -> Float:
    """(height, width) reduced to ``size`` = (width, height); the maximum of each block stays.

    An average would hide a thin seam. Raises :class:`ValueError` where a side would grow.
    """
    width, height = size
    if width > values.shape[1] or height > values.shape[0]:
        raise ValueError(
            f"max-pooling cannot enlarge {values.shape[1]}x{values.shape[0]} to {width}x{height}"
        )
    tops = np.arange(height) * values.shape[0] // height
    lefts = np.arange(width) * values.shape[1] // width
    rows = np.maximum.reduceat(values, tops, axis=0)
    return np.asarray(np.maximum.reduceat(rows, lefts, axis=1), np.float32)


def heat_map(values: Float, reference: Image) -> U8:
    """(height, width, 3) RGB: differences ``values`` (height, width), 0..255, in colours over the grey
    reference, averaged to their size. 0 shows the grey reference alone; from 4 on the colour covers it."""
    grey = _grey(reference, (values.shape[1], values.shape[0]))
    picture = np.empty((*values.shape, 3), np.uint8)
    cover = np.minimum(np.arange(256) * (HEAT_RANGE_255 / _OPAQUE_FROM_255 / 255), 1.0)
    colours = np.rint(_turbo_levels() * cover[:, None]).astype(np.uint8)
    bare = np.rint(255 - 255 * cover).astype(np.uint8)
    for rows in spans(0, values.shape[0], _STRIP_ROWS):
        level = _levels(values[rows])
        ground = cv2.multiply(grey[rows], cv2.LUT(level, bare), scale=1 / 255)
        cv2.add(cv2.LUT(cv2.merge([level] * 3), colours), cv2.merge([ground] * 3), picture[rows])
    return picture


def _grey(reference: Image, size: tuple[int, int]) -> U8:
    """Luma over mid-grey at ``size``, lightened so that the colours stand out from it."""
    full = np.empty((reference.height, reference.width), np.float32)
    for rows in spans(0, reference.height, _STRIP_ROWS):
        strip = to_srgb(replace(reference, pixels=reference.pixels[rows]))
        cv2.cvtColor(rgb_over(strip, (128, 128, 128)), cv2.COLOR_RGB2GRAY, full[rows])
    return np.asarray(cv2.convertScaleAbs(area_average(full, size), alpha=0.6, beta=90), np.uint8)


def turbo(values: Float) -> U8:
    """(height, width, 3) RGB of differences; 0 is the dark blue end, 32 and more the dark red."""
    return np.asarray(cv2.LUT(cv2.merge([_levels(values)] * 3), _turbo_levels()), np.uint8)


def _levels(values: Float) -> U8:
    """Of the 256 colours."""
    return np.asarray(cv2.convertScaleAbs(values, alpha=255.0 / HEAT_RANGE_255), np.uint8)


@cache
def _turbo_levels() -> U8:
    """(1, 256, 3) RGB: OpenCV makes its table anew for each picture that it colours."""
    levels = np.arange(256, dtype=np.uint8)[None]
    return np.asarray(
        cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB), np.uint8
    )
