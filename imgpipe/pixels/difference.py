"""Where and by how much a result differs from its source, and the heat map that shows it.

Differences are on a fixed scale of 0..32 of 255 (larger values saturate), in steps of a half, so that equal
colours mean equal differences on every picture. Colours: Turbo (Mikhailov, 2019). The map has 256 colours at
most, so that a file of it takes a quarter of the time and bytes: greys are as fine as the picture is seen.
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
#: Steps of the scale; so many greys are told apart below each of those that do not cover them, up to 4/255.
STEPS = 64
_GREYS = 54, 40, 30, 22, 16, 12, 9, 6
_DARKEST, _LIGHTEST = 90, 243
#: Indices of black and white.
BLACK, WHITE = 254, 255
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
    """(height, width) indices of :func:`heat_colours`: differences ``values`` (height, width), 0..255, in
    colours over the grey reference, averaged to their size. 0 shows the grey reference alone; from 4 on the
    colour covers it."""
    grey = _grey(reference, (values.shape[1], values.shape[0]))
    indices = np.empty(values.shape, np.uint8)
    for rows in spans(0, values.shape[0], _STRIP_ROWS):
        places = heat_steps(values[rows]).astype(np.uint16)
        places <<= 8
        places |= grey[rows]
        np.take(_index_of_step_and_grey(), places, out=indices[rows], mode="clip")
    return indices


def heat_steps(values: Float) -> U8:
    """Differences in steps of 1/2 of 255, at most :data:`STEPS`."""
    return np.minimum(cv2.convertScaleAbs(values, alpha=STEPS / HEAT_RANGE_255), np.uint8(STEPS))


@cache
def heat_colours() -> U8:
    """(256, 3) RGB: each step that does not cover the picture over its greys, the steps that do, the former
    with nothing below (:func:`bare_index`), black and white."""
    steps = np.rint(np.arange(STEPS + 1) * (255 / STEPS)).astype(np.uint8)[None]
    turbo = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[0]
    mixed = [
        np.rint(turbo[step] * cover + np.linspace(_DARKEST, _LIGHTEST, greys)[:, None] * (1 - cover))
        for step, greys in enumerate(_GREYS)
        for cover in (step / len(_GREYS),)
    ]
    both = np.array([[0] * 3, [255] * 3])
    return np.concatenate([*mixed, turbo[len(_GREYS) :], turbo[: len(_GREYS)], both]).astype(np.uint8)


@cache
def _index_of_step_and_grey() -> U8:
    """(steps x 256,)."""
    indices = np.empty((STEPS + 1, 256), np.uint8)
    share = np.clip((np.arange(256) - _DARKEST) / (_LIGHTEST - _DARKEST), 0, 1)
    first = 0
    for step, greys in enumerate(_GREYS):
        indices[step] = first + np.rint(share * (greys - 1))
        first += greys
    indices[len(_GREYS) :] = first + np.arange(STEPS + 1 - len(_GREYS))[:, None]
    return indices.ravel()


def bare_index(step: int) -> int:
    """Index of a step's colour with nothing below it."""
    covering = sum(_GREYS) - len(_GREYS)
    return covering + (step if step >= len(_GREYS) else STEPS + 1 + step)


def _grey(reference: Image, size: tuple[int, int]) -> U8:
    """Luma over mid-grey at ``size``, lightened so that the colours stand out from it."""
    full = np.empty((reference.height, reference.width), np.float32)
    for rows in spans(0, reference.height, _STRIP_ROWS):
        strip = to_srgb(replace(reference, pixels=reference.pixels[rows]))
        cv2.cvtColor(rgb_over(strip, (128, 128, 128)), cv2.COLOR_RGB2GRAY, full[rows])
    slope = (_LIGHTEST - _DARKEST) / 255
    return np.asarray(cv2.convertScaleAbs(area_average(full, size), alpha=slope, beta=_DARKEST), np.uint8)
