"""Detail ratio: root mean square of the round trip's Laplacian over that of the source's.

Below 1 the picture was blurred, above 1 sharpened; far above 1 it rings. It is seen at the source's
size, so detail that a network invents below that size does not count.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float
from imgpipe.quality.blocks import blocks

Weight = Float | npt.NDArray[np.uint8]

#: Energy of imperceptible grain, (1/255)^2, added to both, so that flat pictures have ratio 1.
_FLOOR = 1.0


def laplacian_energy(plane: Float, weight: Weight | None = None) -> float:
    """Mean squared 4-neighbour Laplacian of a luma plane (height, width) on 0..255; 0 if no weight."""
    total, mass = 0.0, 0.0
    for block in blocks(plane.shape, 1):
        laplacian = cv2.Laplacian(plane[block.seen], cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)
        laplacian = laplacian[block.inner]
        if weight is None:
            total += cv2.norm(laplacian, cv2.NORM_L2SQR)
            mass += laplacian.size
        else:
            w = weight[block.own]
            total += float(np.sum(np.square(laplacian) * w, dtype=np.float64))
            mass += float(np.sum(w, dtype=np.float64))
    return total / mass if mass > 0 else 0.0


def detail_ratio(reference: Float, distorted: Float, weight: Weight | None = None) -> float:
    """Root of the energies' ratio, ``distorted`` / ``reference``: luma (height, width) float32, 0..255."""
    before, after = laplacian_energy(reference, weight), laplacian_energy(distorted, weight)
    return math.sqrt((after + _FLOOR) / (before + _FLOOR))
