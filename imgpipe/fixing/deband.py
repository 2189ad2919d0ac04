"""Smooth gradients out of pictures that have few levels, as those of 5 or 6 bits.

Between the contours where a level meets its neighbours the true value is interpolated by the distances to
both, never leaving what would be rounded to the same level again; then dithered at the picture's depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.fixing.sliding_dct import Float
from imgpipe.images.image import Pixels

#: Bits of a channel that are looked for; at 16 bits 8 as well, which the display of 8 would not show.
_BITS = range(3, 8)
#: Share of the pixels that must lie on the levels, and how many neighbouring levels must be there.
_ON_LEVELS, _LEAST_PAIRS = 0.999, 4
#: Contours that are farther away do not count, px.
_FAR_PX = 48
#: Means over this edge, px, smooth the interpolation.
_MEAN_PX = 5
#: Context that a piece needs, px; a multiple of 16.
REACH_PX = 64


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """``bits``: how many a channel was reduced to. ``values``: its levels, ascending. ``index``: value of the
    picture -> nearest level."""

    bits: int
    values: Float
    index: npt.NDArray[np.int16]


def find_levels(channel: npt.NDArray[Any], visible: npt.NDArray[np.bool_] | None = None) -> Levels | None:
    """The levels of a channel, uint8 or uint16, that has no more than 3 to 7 bits; else ``None``.

    A channel is taken for reduced where its levels are those of truncation, of rounding, or of repeated bits.
    """
    depth = channel.dtype.itemsize * 8
    seen = channel if visible is None else channel[visible]
    counts = np.bincount(seen.ravel(), minlength=1 << depth)
    for bits in (*_BITS, 8) if depth == 16 else _BITS:
        numbers = np.arange(1 << bits)
        truncated = numbers << (depth - bits)
        rounded = np.rint(numbers * ((1 << depth) - 1) / ((1 << bits) - 1)).astype(np.int64)
        repeated = truncated | truncated >> bits
        for values in (rounded, repeated, truncated, truncated + (1 << (depth - bits - 1))):
            there = counts[values] > 0
            pairs = int((there[1:] & there[:-1]).sum())
            if counts[values].sum() >= _ON_LEVELS * counts.sum() and pairs >= _LEAST_PAIRS:
                middles = (values[1:] + values[:-1]) / 2
                nearest = np.searchsorted(middles, np.arange(1 << depth)).astype(np.int16)
                return Levels(bits, values.astype(np.float32), nearest)
    return None


def debanded(channel: npt.NDArray[Any], levels: Levels, strength: float, corner: tuple[int, int]) -> Pixels:
    """A piece of a channel with gradients in place of steps; its depth stays.

    ``corner``: the piece's first row and column in the picture, on which the dither depends. At a strength of
    0.5 and more the whole way is gone.
    """
    index = levels.index[channel]
    position = index + np.float32(min(1.0, 2 * strength)) * _within_level(index)
    values = np.interp(position, np.arange(levels.values.size), levels.values)
    dithered = np.floor(values + _dither(channel.shape, corner))
    dithered = np.where(position == index, channel, dithered)
    result: Pixels = np.clip(dithered, 0, np.iinfo(channel.dtype).max).astype(channel.dtype)
    return result


def contours(lumas: Sequence[Float]) -> float:
    """Share of pixels beside a step of 1.5 to 10 of 255 between runs of at least 4 equal px, in rows or
    columns; 0..1."""
    found = total = 0
    for luma in lumas:
        for plane in (luma, luma.T):
            steps = np.abs(np.diff(plane, axis=1))
            if not steps.size:
                continue
            kernel = np.ones((1, 7), np.uint8)
            kernel[0, 3] = 0  # the step itself
            beside = cv2.dilate((steps > np.float32(0.5)).astype(np.uint8), kernel)
            found += int(((steps >= np.float32(1.5)) & (steps <= np.float32(10)) & (beside == 0)).sum())
        total += luma.size
    return found / max(total, 1)


def _within_level(index: npt.NDArray[np.int16]) -> Float:
    """Where between the contours each pixel lies: -0.5 at the lower level's, 0.5 at the higher one's."""
    higher, lower = (_distance(index, step) for step in (1, -1))
    inside = np.float32(0.5) * (lower - higher) / (lower + higher)
    kernel = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(index, kernel) - cv2.erode(index, kernel) <= 1
    inside *= flat
    position = index + inside
    weight = cv2.blur(flat.astype(np.float32), (_MEAN_PX, _MEAN_PX))
    mean = cv2.blur(position * flat, (_MEAN_PX, _MEAN_PX)) / np.maximum(weight, np.float32(1e-6))
    return np.asarray(np.clip(mean - index, -0.5, 0.5) * flat, np.float32)


def _distance(index: npt.NDArray[np.int16], step: int) -> Float:
    """From each pixel to the contour of its level with the one ``step`` above, at most :data:`_FAR_PX`.

    Every third level is measured at once: the contours of the levels between are not theirs.
    """
    contour = np.zeros(index.shape, np.bool_)
    for plane, found in ((index, contour), (index.T, contour.T)):
        rises = np.diff(plane, axis=0)
        found[:-1] |= rises == step
        found[1:] |= rises == -step
    result = np.full(index.shape, _FAR_PX, np.float32)
    for remainder in range(3):
        own = index % 3 == remainder
        ends = contour & own
        if ends.any():
            distance = cv2.distanceTransform((~ends).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
            result[own] = np.minimum(distance[own] + np.float32(0.5), np.float32(_FAR_PX))
    return result


def _dither(shape: tuple[int, ...], corner: tuple[int, int]) -> npt.NDArray[np.float64]:
    """0..1, the same at a place of the picture always (Jimenez 2014, interleaved gradient noise)."""
    rows = np.arange(corner[0], corner[0] + shape[0], dtype=np.float64)[:, None]
    columns = np.arange(corner[1], corner[1] + shape[1], dtype=np.float64)[None]
    return np.asarray(52.9829189 * (0.06711056 * columns + 0.00583715 * rows % 1 % 1) % 1, np.float64)
