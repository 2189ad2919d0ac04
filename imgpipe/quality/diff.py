"""``diff.png``: where and by how much a result differs from its source, as a heat map over the grey source.

Per pixel the largest absolute difference of the channels between the source and the round trip, on a
fixed scale of 0..32 of 255 (larger values saturate), so that maps of different images can be compared.
Colours: Turbo (Mikhailov, 2019). No difference shows the grey source alone; from 4 on the colour covers it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.colour import luma
from imgpipe.images.image import Image
from imgpipe.quality.blocks import spans
from imgpipe.quality.round_trip import (
    Float,
    area_average,
    comparison_size,
    inside_the_cutout,
    reduce_picture,
    rgb_over,
)

U8 = npt.NDArray[np.uint8]

RANGE_255 = 32.0
_OPAQUE_FROM_255 = 4.0
_BAR_PX = 20
_BAR_GAP_PX = 2
_TICKS = (0, 8, 16, 24, 32)
_MIN_LABELLED_PX = 160
#: Rows that are blended at once: their planes stay in the cache.
_STRIP_ROWS = 16


def difference(reference: Image, result: Image) -> Float:
    """Largest abs channel difference at comparison size, (height, width) float32, 0..255.

    Pictures with alpha are compared over black and over white; the larger difference counts. An opaque
    reference and a cutout are compared inside the cutout.
    """
    size = comparison_size(reference, result)
    reference, result = inside_the_cutout(reference, result)
    before, after = reduce_picture(reference, size), reduce_picture(result, size)
    largest = _largest_channel(before.rgb, after.rgb)
    if reference.has_alpha or result.has_alpha:
        over_white = _largest_channel(before.over_white().rgb, after.over_white().rgb)
        np.maximum(largest, over_white, out=largest)
    return largest


def _largest_channel(before: Float, after: Float) -> Float:
    largest = np.empty(before.shape[:2], np.float32)
    for rows in spans(0, before.shape[0], _STRIP_ROWS):
        red, green, blue = cv2.split(cv2.absdiff(before[rows], after[rows]))
        cv2.max(cv2.max(red, green, red), blue, largest[rows])
    return largest


def diff_image(reference: Image, result: Image) -> Image:
    """The heat map, 8-bit RGB: pixel (x, y) is the source's pixel (x, y); the colour bar stands below.

    Width of the source (of the smaller picture, where the result is smaller), height + 22 px.
    """
    values = difference(reference, result)
    height, width = values.shape
    picture = _blend(values, _grey(reference, (width, height)))
    gap = np.full((_BAR_GAP_PX, width, 3), 255, np.uint8)
    return Image(np.concatenate([picture, gap, _colour_bar(width)]))


def diff_thumbnail(reference: Image, result: Image, max_side_px: int = 256) -> Image:
    """A small heat map without bar, 8-bit RGB, longest side at most ``max_side_px``.

    The difference is reduced by its **maximum**: an average would hide a thin seam.
    """
    values = difference(reference, result)
    height, width = values.shape
    cell = max(1, -(-max(height, width) // max_side_px))
    pooled = _max_pool(values, cell)
    return Image(_blend(pooled, _grey(reference, (pooled.shape[1], pooled.shape[0]))))


def _max_pool(values: Float, cell: int) -> Float:
    padded = np.pad(values, ((0, -values.shape[0] % cell), (0, -values.shape[1] % cell)))
    cells = padded.reshape(padded.shape[0] // cell, cell, padded.shape[1] // cell, cell)
    largest: Float = cells.max(axis=(1, 3))
    return largest


def _grey(reference: Image, size: tuple[int, int]) -> Float:
    """Luma over mid-grey at ``size``, lightened so that the colours stand out from it."""
    full = np.empty((reference.height, reference.width), np.float32)
    for rows in spans(0, reference.height, _STRIP_ROWS):
        strip = replace(reference, pixels=reference.pixels[rows])
        full[rows] = luma(rgb_over(strip, (128, 128, 128)))
    return area_average(full, size) * np.float32(0.6) + np.float32(90.0)


def _blend(values: Float, grey: Float) -> U8:
    picture = np.empty((*values.shape, 3), np.uint8)
    for rows in spans(0, values.shape[0], _STRIP_ROWS):
        heat = _turbo(values[rows]).astype(np.float32)
        cover = np.clip(values[rows] / np.float32(_OPAQUE_FROM_255), 0, 1)
        colour = cv2.multiply(heat, cv2.merge([cover] * 3))
        ground = cv2.merge([grey[rows] * (1 - cover)] * 3)
        cv2.add(colour, ground, picture[rows], dtype=cv2.CV_8U)
    return picture


def _turbo(values: Float) -> U8:
    """(height, width, 3) RGB of differences; 0 is the dark blue end, 32 and more the dark red."""
    level = np.clip(np.rint(values * np.float32(255.0 / RANGE_255)), 0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(level, cv2.COLORMAP_TURBO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def _colour_bar(width: int) -> U8:
    """(20, width, 3): the scale from 0 to 32 with its numbers, where there is room for them."""
    ramp = np.broadcast_to(np.linspace(0, RANGE_255, width, dtype=np.float32), (_BAR_PX, width))
    bar = np.ascontiguousarray(_turbo(np.ascontiguousarray(ramp)))
    if width < _MIN_LABELLED_PX:
        return bar
    for tick in _TICKS:
        text = f"{tick}/255" if tick == _TICKS[-1] else str(tick)
        (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        x = min(max(0, round(tick / RANGE_255 * width) - length // 2), width - length - 2)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(bar, text, (x, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)
    return bar
