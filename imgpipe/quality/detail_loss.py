"""Detail loss: the place of the source whose structure the round trip has least of.

1 - SSIM of the luma in windows of 7 px, with the constant so large that differences of a few levels, such as
the noise and traces of compression that networks clear away, count for little: one drawn detail that is
gone or has run into another shape counts fully. :mod:`imgpipe.quality.worst_window` has windows of 32 px.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float
from imgpipe.quality.blocks import blocks
from imgpipe.quality.report import EdgeBox

WINDOW_PX = 7
#: Variance, 1/255 squared, from which on structure counts.
_STABILISER = 300.0
_BOX = np.full(WINDOW_PX, 1 / WINDOW_PX, np.float32)


def detail_loss(reference: Float, round_trip: Float) -> tuple[float, tuple[EdgeBox, ...]]:
    """(largest loss, 0 = kept, 1 = gone, 2 = inverted; where) of two lumas (height, width), 0..255."""
    worst, place = 0.0, (0, 0)
    for block in blocks(reference.shape, WINDOW_PX // 2):
        loss = _loss(reference[block.seen], round_trip[block.seen])[block.inner]
        _, highest, _, at = cv2.minMaxLoc(loss)
        if highest > worst:
            worst, place = highest, (at[0] + block.own[1].start, at[1] + block.own[0].start)
    left, top = (max(0, at - WINDOW_PX // 2) for at in place)
    return worst, (EdgeBox(left, top, WINDOW_PX, WINDOW_PX, "detail_loss", worst),)


def _loss(a: Float, b: Float) -> Float:
    """1 - (2 cov + C) / (var a + var b + C), which with d = a - b and s = a + b is
    2 var d / (var s + var d + 2 C)."""
    # Of centred values the squares keep their precision.
    both = cv2.subtract(a, b), cv2.addWeighted(a, 1.0, b, 1.0, -2 * cv2.mean(a)[0])
    away, kept = (_variance(np.asarray(plane, np.float32)) for plane in both)
    cv2.addWeighted(kept, 0.5, away, 0.5, _STABILISER, kept)
    return np.asarray(cv2.divide(away, kept, away), np.float32)


def _variance(plane: Float) -> Float:
    """In each window; ``plane`` is used up."""
    mean = _mean(plane)
    squared = _mean(np.square(plane, out=plane))
    # Rounding may leave that of a flat window a hair below 0: its absolute value is as near.
    return np.asarray(cv2.absdiff(squared, np.square(mean, out=mean), squared), np.float32)


def _mean(plane: Float) -> Float:
    return np.asarray(cv2.sepFilter2D(plane, cv2.CV_32F, _BOX, _BOX), np.float32)
