"""Detail ratio: root mean square of the round trip's Laplacian over that of the source's.

Below 1 the picture was blurred, above 1 sharpened; far above 1 it rings. It is seen at the source's
size, so detail that a network invents below that size does not count.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from imgpipe.quality.round_trip import Float

#: Energy of imperceptible grain, (1/255)^2, added to both, so that flat pictures have ratio 1.
_FLOOR = 1.0


def laplacian_energy(plane: Float, weight: Float | None = None) -> float:
    """Mean squared 4-neighbour Laplacian of a luma plane (height, width) on 0..255; 0 if no weight."""
    energy = np.square(cv2.Laplacian(plane, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    if weight is None:
        return float(energy.mean(dtype=np.float64))
    mass = float(weight.sum(dtype=np.float64))
    return float(np.sum(energy * weight, dtype=np.float64)) / mass if mass > 0 else 0.0


def detail_ratio(reference: Float, distorted: Float, weight: Float | None = None) -> float:
    """Root of the energies' ratio, ``distorted`` / ``reference``: luma (height, width) float32, 0..255."""
    before, after = laplacian_energy(reference, weight), laplacian_energy(distorted, weight)
    return math.sqrt((after + _FLOOR) / (before + _FLOOR))
