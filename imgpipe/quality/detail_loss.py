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
    """(E(a - b)^2 - (E a - E b)^2) / (var a + var b + C), which is 1 - (2 cov + C) / (var a + var b + C)."""

    def mean(plane: Float) -> Float:
        return np.asarray(cv2.blur(plane, (WINDOW_PX, WINDOW_PX)), np.float32)

    middle = np.float32(a.mean())  # Of centred values the squares keep their precision.
    a, b = a - middle, b - middle
    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    away = mean(np.square(a - b)) - np.square(mean_a - mean_b)
    return np.asarray(np.maximum(away, 0) / (np.maximum(variances, 0) + np.float32(_STABILISER)), np.float32)
