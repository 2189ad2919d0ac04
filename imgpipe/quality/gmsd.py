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

from imgpipe.quality.psnr import check_same_shape
from imgpipe.quality.round_trip import Float, area_average

T = 170.0
#: Pictures smaller than this have no 3x3 neighbourhood after averaging.
MIN_SIDE_PX = 6
_PREWITT = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], np.float32) / np.float32(3.0)


def gmsd(reference: Float, distorted: Float, weight: Float | None = None) -> float | None:
    """GMSD of two luma planes (height, width) float32 on 0..255; 0 is equal, lower is better.

    ``weight`` (height, width) weights the deviation. An odd last row or column is left out. ``None`` below
    6 px a side and where all weights are 0. Raises ValueError for planes of different shapes.
    """
    check_same_shape(reference, distorted, weight)
    if min(reference.shape) < MIN_SIDE_PX:
        return None
    a, b = _magnitude(reference), _magnitude(distorted)
    loss = np.square(a - b)
    loss /= np.square(a) + np.square(b) + np.float32(T)  # 1 - GMS, which has the same deviation
    if weight is None:
        return float(loss.std(dtype=np.float64))
    w = _halved(weight)
    mass = float(w.sum(dtype=np.float64))
    if mass <= 0:
        return None
    mean = float(np.sum(w * loss, dtype=np.float64)) / mass
    return math.sqrt(float(np.sum(w * np.square(loss - np.float32(mean)), dtype=np.float64)) / mass)


def _halved(plane: Float) -> Float:
    height, width = (side // 2 * 2 for side in plane.shape)
    return area_average(plane[:height, :width], (width // 2, height // 2))


def _magnitude(plane: Float) -> Float:
    half = _halved(plane)
    gx, gy = (
        cv2.filter2D(half, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        for kernel in (_PREWITT, np.ascontiguousarray(_PREWITT.T))
    )
    return np.asarray(cv2.magnitude(gx, gy), np.float32)
