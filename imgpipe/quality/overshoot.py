"""Overshoot: edges with a halo on both sides, darker and brighter than anything around them in the source.

An unsharp mask makes both. A network that redraws a dark line makes it darker, and no brighter ground beside
it; so what is too bright counts near what is too dark alone, and the smaller of the two shares. It also draws
stripes and dots of a pixel or two stronger than the source has them: edges that a mean of 3x3 px takes away
do not count. The result's own pixels are looked at, as the round trip averages most of a halo away.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Bytes

_WINDOW_PX, _EDGE_255, _BEYOND_255 = 5, 24, 8
#: Share of an edge's own range that Lanczos may ring beyond it, and a network's sharper edges; share of it
#: that a mean of 3x3 px keeps of an edge.
_BEYOND_RANGE, _KEPT_RANGE = 0.2, 0.6
_MIN_EDGE_PX = 64
_RANGES = np.arange(256)
#: Least gradient of the mean of 3x3 px at an edge, and most that may lie beyond, by the edge's own range.
_LEAST_KEPT = np.ceil(_KEPT_RANGE * _RANGES).astype(np.uint8)
_ALLOWED = np.maximum(_BEYOND_255, _BEYOND_RANGE * _RANGES).astype(np.uint8)


def overshoot(source: Bytes, result: Bytes) -> float | None:
    """Share of edge pixels, 0..1, of two lumas (height, width), the result's not smaller.

    Edge pixels: the source differs by more than 24 within 5x5 px, and its mean of 3x3 px by 0.6 of that. They
    overshoot where a pixel of the result in their place is beyond what the source has there, by more than 8
    and by more than a fifth of that difference, another within 5x5 px is on the other side. ``None`` below 64
    edge pixels.
    """
    window = np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)
    highest, lowest = cv2.dilate(source, window), cv2.erode(source, window)
    spread = cv2.subtract(highest, lowest)
    kept = cv2.morphologyEx(cv2.blur(source, (3, 3)), cv2.MORPH_GRADIENT, window)
    edges = (spread > _EDGE_255) & (kept >= cv2.LUT(spread, _LEAST_KEPT))
    count = int(np.count_nonzero(edges))
    if count < _MIN_EDGE_PX:
        return None
    allowed = cv2.LUT(spread, _ALLOWED)
    brightest, darkest = (_pooled(result, source.shape, how) for how in (cv2.MORPH_DILATE, cv2.MORPH_ERODE))
    bright, dark = (
        ((beyond > allowed) & edges).view(np.uint8)
        for beyond in (cv2.subtract(brightest, highest), cv2.subtract(lowest, darkest))
    )
    both = (
        cv2.bitwise_and(bright, cv2.dilate(dark, window)),
        cv2.bitwise_and(dark, cv2.dilate(bright, window)),
    )
    return min(cv2.countNonZero(one) for one in both) / count


def _pooled(plane: Bytes, shape: tuple[int, ...], operation: int) -> Bytes:
    """Largest or smallest value of the pixels in each source pixel's place, (height, width) = ``shape``."""
    for axis in range(2):
        factor = plane.shape[axis] / shape[axis]
        reach = math.ceil(factor)
        kernel = np.ones((reach, 1) if axis == 0 else (1, reach), np.uint8)
        middles = (np.arange(shape[axis]) * factor).astype(np.int64) + reach // 2
        pooled = cv2.morphologyEx(plane, operation, kernel)
        plane = np.take(pooled, np.minimum(middles, plane.shape[axis] - 1), axis=axis)
    return plane
