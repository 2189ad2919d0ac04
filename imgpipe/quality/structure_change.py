"""Structure change: how far the finest detail at the source's size is from what Lanczos leaves of it.

A Lanczos enlargement that is averaged back is the source under one fixed filter, nearly the same for every
factor: the kernel's mean over each source pixel. So what a faithful enlargement of this source looks like is
known without making one, for tone and lines of a pixel too. The difference from it and the filtered source
itself go through one high-pass, pixel minus mean of 3x3; the metric is the ratio of their root mean squares.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

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
    reference: Float, round_trip: Float, interior: npt.NDArray[np.uint8] | None = None
) -> float | None:
    """The ratio, 0 = as by Lanczos, of two lumas (height, width) float32 on 0..255.

    ``interior``: 1 where both pictures are opaque; what lies near its border is left out. ``None`` where
    nothing is left.
    """
    taps = lanczos_round_trip_taps()
    if interior is not None:
        window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
        interior = np.asarray(cv2.erode(interior, window), np.uint8)
    away, own, count = 0.0, 0.0, 0
    for block in blocks(reference.shape, _REACH):
        kept = cv2.sepFilter2D(reference[block.seen], cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REPLICATE)
        mask = None if interior is None else interior[block.own]
        for values, is_difference in ((kept, False), (round_trip[block.seen] - kept, True)):
            detail = np.ascontiguousarray((values - cv2.blur(values, (3, 3)))[block.inner])
            energy = cv2.norm(detail, cv2.NORM_L2SQR, mask=mask)
            away, own = (away + energy, own) if is_difference else (away, own + energy)
        count += int(reference[block.own].size if mask is None else cv2.countNonZero(mask))
    return math.sqrt(away / (own + _FLOOR * count)) if count else None
