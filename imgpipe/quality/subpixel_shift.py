"""Displacement of one picture against another, by least squares on the image gradient.

For a small displacement (u, v) of the content, b(x, y) = a(x - u, y - v), to first order
b - a = -(u gx + v gy). Minimising the squared error over the picture gives Lucas and Kanade's (1981)
2x2 system  G (u, v) = -sum(g (b - a)). The gradient is taken of the mean of both pictures, which cancels
the second-order term; both are blurred by sigma 1 first, so that the linear model holds up to about 1 px.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float
from imgpipe.quality.blocks import Region, blocks

_SIGMA_PX = 1.0
#: The blur's radius as OpenCV chooses it for this sigma, and one px for the gradient.
_REACH_PX = 5
#: A direction with less gradient energy than this per pixel ((1/255)^2) says nothing about a shift: in almost
#: black pictures it is that of a codec's blocks, which networks clear away.
_MIN_ENERGY = 0.5


def subpixel_shift(reference: Float, distorted: Float) -> tuple[float, float] | None:
    """(u, v): how far ``distorted``'s content lies right of and below ``reference``'s, px.

    Luma planes (height, width) float32 on 0..255. A direction without structure counts as 0;
    ``None`` where the picture has none at all, or is smaller than 3x3 px.
    """
    if min(reference.shape) < 3:
        return None
    sums, count = np.zeros(8), (reference.shape[0] - 2) * (reference.shape[1] - 2)
    for block in blocks(reference.shape, _REACH_PX, inset=1):
        sums += _sums(reference[block.seen], distorted[block.seen], block.inner)
    xx, xy, yy, x_difference, y_difference, x, y, difference = sums / count
    right = -np.array([x_difference - x * difference, y_difference - y * difference])
    energies, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    seen = energies > _MIN_ENERGY
    if not seen.any():
        return None
    along = np.where(seen, axes.T @ right / np.maximum(energies, _MIN_ENERGY), 0.0)
    u, v = axes @ along
    return float(u), float(v)


def _sums(reference: Float, distorted: Float, inner: Region) -> npt.NDArray[np.float64]:
    """Sums over ``inner`` of gx gx, gx gy, gy gy, gx d, gy d, gx, gy and d, d the difference."""
    # A quarter of each: half for the mean picture, half for the central difference.
    middle = _smooth(np.asarray(cv2.addWeighted(reference, 0.25, distorted, 0.25, 0.0), np.float32))
    difference = _smooth(np.asarray(cv2.subtract(distorted, reference), np.float32))[inner]
    rows, columns = inner
    before, after = (slice(columns.start + by, columns.stop + by) for by in (-1, 1))
    above, below = (slice(rows.start + by, rows.stop + by) for by in (-1, 1))
    gx = cv2.subtract(middle[rows, after], middle[rows, before])
    gy = cv2.subtract(middle[below, columns], middle[above, columns])
    xy, x_difference, y_difference, x, y, total = (
        cv2.sumElems(plane)[0]
        for plane in (
            cv2.multiply(gx, gy),
            cv2.multiply(gx, difference),
            cv2.multiply(gy, difference),
            gx,
            gy,
            difference,
        )
    )
    xx, yy = (cv2.norm(plane, cv2.NORM_L2SQR) for plane in (gx, gy))
    return np.array([xx, xy, yy, x_difference, y_difference, x, y, total], np.float64)


def _smooth(plane: Float) -> Float:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), _SIGMA_PX, borderType=cv2.BORDER_REFLECT), np.float32)
