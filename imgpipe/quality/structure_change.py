"""Structure change: how far the finest detail at the source's size is from what Lanczos leaves of it.

A Lanczos enlargement by a whole factor that is averaged back is the source under one fixed filter, nearly the
same for every factor: the kernel's mean over each source pixel. So what a faithful enlargement of this source
looks like is known without making one, for tone and lines of a pixel too. By other factors the filter differs
from pixel to pixel, and the enlargement is made. The difference from it and the filtered source itself go
through one high-pass, pixel minus mean of 3x3; the metric is the ratio of their root mean squares.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.lanczos_average import lanczos_averages
from imgpipe.pixels.round_trip import Float
from imgpipe.quality.blocks import blocks

_LOBES, _STEPS = 3, 64
#: Energy of imperceptible grain, (2/255)^2, added below the line, so that flat pictures have none.
_FLOOR = 4.0
_REACH = _LOBES + 1


def lanczos_round_trip_taps() -> Float:
    """Seven weights: Lanczos' kernel (a = 3) averaged over each pixel from -3 to 3, their sum 1."""
    x = (np.arange(-(_LOBES + 0.5) * _STEPS, (_LOBES + 0.5) * _STEPS) + 0.5) / _STEPS
    kernel = np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    taps = kernel.reshape(-1, _STEPS).mean(axis=1)
    return np.asarray(taps / taps.sum(), np.float32)


def structure_change(
    reference: Float,
    round_trip: Float,
    size: tuple[int, int],
    interior: npt.NDArray[np.uint8] | None = None,
) -> float | None:
    """The ratio, 0 = as by Lanczos, of two lumas (height, width) float32 on 0..255.

    ``size``: (width, height) of the result. ``interior``: 1 where both pictures are opaque; what lies near
    its border is left out. ``None`` where nothing is left.
    """
    enlarged = _enlarged_and_averaged(reference, size)
    taps = lanczos_round_trip_taps()
    if interior is not None:
        window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
        interior = np.asarray(cv2.erode(interior, window), np.uint8)
    away, own, count = 0.0, 0.0, 0
    for block in blocks(reference.shape, _REACH):
        seen = reference[block.seen]
        if enlarged is None:
            kept = cv2.sepFilter2D(seen, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REPLICATE)
        else:
            kept = enlarged[block.seen]
        mask = None if interior is None else interior[block.own]
        for values, is_difference in ((kept, False), (round_trip[block.seen] - kept, True)):
            detail = np.ascontiguousarray((values - cv2.blur(values, (3, 3)))[block.inner])
            energy = cv2.norm(detail, cv2.NORM_L2SQR, mask=mask)
            away, own = (away + energy, own) if is_difference else (away, own + energy)
        count += int(reference[block.own].size if mask is None else cv2.countNonZero(mask))
    return math.sqrt(away / (own + _FLOOR * count)) if count else None


def _enlarged_and_averaged(plane: Float, size: tuple[int, int]) -> Float | None:
    """``plane`` by way of a Lanczos enlargement to ``size``; ``None`` where that is by whole factors."""
    height, width = plane.shape
    if size[0] % width == 0 and size[1] % height == 0:
        return None
    averages = np.empty_like(plane)
    for rows, mean in lanczos_averages(lambda part: plane[part, :, None], (height, width), size):
        averages[rows] = mean[..., 0]
    return averages
