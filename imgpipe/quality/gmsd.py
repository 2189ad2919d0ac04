"""Gradient magnitude similarity deviation: Xue, Zhang, Mou, Bovik, IEEE TIP 23(2), 2014.

Luma of both pictures is averaged over 2x2 px, Prewitt's gradients (divided by 3, zeros outside the picture)
give the magnitudes m, and

    GMS = (2 m_a m_b + T) / (m_a^2 + m_b^2 + T),    T = 170 on 0..255

per pixel. GMSD is the standard deviation of GMS: 0 for equal pictures, growing where damage is uneven.
With d = m_a - m_b, GMS = 1 - d^2 / (m_a^2 + m_b^2 + T), which keeps its digits in float32.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from imgpipe.pixels.resize import halved
from imgpipe.pixels.round_trip import Float
from imgpipe.quality.blocks import blocks
from imgpipe.quality.psnr import check_same_shape

T = 170.0
#: Pictures smaller than this have no 3x3 neighbourhood after averaging.
MIN_SIDE_PX = 6
#: Prewitt's operator is a difference along one side and a mean along the other.
_STEP, _MEAN = np.array([1, 0, -1], np.float32), np.full(3, 1 / 3, np.float32)


def gmsd(reference: Float, distorted: Float, weight: Float | None = None) -> float | None:
    """GMSD of two luma planes (height, width) float32 on 0..255; 0 is equal, lower is better.

    ``weight`` (height, width) weights the deviation. An odd last row or column is left out. ``None`` below
    6 px a side and where all weights are 0. Raises ValueError for planes of different shapes.
    """
    check_same_shape(reference, distorted, weight)
    if min(reference.shape) < MIN_SIDE_PX:
        return None
    a, b, w = halved(reference), halved(distorted), None if weight is None else halved(weight)
    mass = first = second = 0.0
    for block in blocks(a.shape, 1):
        loss = _loss(a[block.seen], b[block.seen])[block.inner].astype(np.float64)
        share = np.ones_like(loss) if w is None else w[block.own].astype(np.float64)
        mass += float(share.sum())
        share *= loss
        first += float(share.sum())
        share *= loss
        second += float(share.sum())
    return math.sqrt(max(0.0, second / mass - (first / mass) ** 2)) if mass > 0 else None


def _loss(a: Float, b: Float) -> Float:
    """1 - GMS, which has GMS's deviation, of two halved planes."""
    of_a, of_b = _energy(a), _energy(b)
    total = of_a + of_b
    total += np.float32(T)
    loss: Float = np.square(np.sqrt(of_a, out=of_a) - np.sqrt(of_b, out=of_b))
    loss /= total
    return loss


def _energy(plane: Float) -> Float:
    """Squared magnitude of the gradient."""
    gx, gy = (
        cv2.sepFilter2D(plane, cv2.CV_32F, across, down, borderType=cv2.BORDER_CONSTANT)
        for across, down in ((_STEP, _MEAN), (_MEAN, _STEP))
    )
    return np.asarray(np.square(gx, out=gx) + np.square(gy, out=gy), np.float32)
