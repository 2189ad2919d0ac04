"""Displacement of one picture against another, by least squares on the image gradient.

For a small displacement (u, v) of the content, b(x, y) = a(x - u, y - v), to first order
b - a = -(u gx + v gy). Minimising the squared error over the picture gives Lucas and Kanade's (1981)
2x2 system  G (u, v) = -sum(g (b - a)). The gradient is taken of the mean of both pictures, which cancels
the second-order term; both are blurred by sigma 1 first, so that the linear model holds up to about 1 px.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.quality.round_trip import Float

_SIGMA_PX = 1.0
#: A direction with less gradient energy than this per pixel ((1/255)^2) says nothing about a shift.
_MIN_ENERGY = 0.05


def subpixel_shift(reference: Float, distorted: Float) -> tuple[float, float] | None:
    """(u, v): how far ``distorted``'s content lies right of and below ``reference``'s, px.

    Luma planes (height, width) float32 on 0..255. A direction without structure counts as 0;
    ``None`` where the picture has none at all, or is smaller than 3x3 px.
    """
    if min(reference.shape) < 3:
        return None
    a, b = _smooth(reference), _smooth(distorted)
    middle = (a + b) * np.float32(0.5)
    difference = (b - a)[1:-1, 1:-1]
    difference = difference - difference.mean()
    gx = (middle[1:-1, 2:] - middle[1:-1, :-2]) * np.float32(0.5)
    gy = (middle[2:, 1:-1] - middle[:-2, 1:-1]) * np.float32(0.5)
    count = difference.size
    xx, xy, yy = (float(np.vdot(p, q)) / count for p, q in ((gx, gx), (gx, gy), (gy, gy)))
    right = -np.array([np.vdot(gx, difference), np.vdot(gy, difference)], np.float64) / count
    energies, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    seen = energies > _MIN_ENERGY
    if not seen.any():
        return None
    along = np.where(seen, axes.T @ right / np.maximum(energies, _MIN_ENERGY), 0.0)
    u, v = axes @ along
    return float(u), float(v)


def _smooth(plane: Float) -> Float:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), _SIGMA_PX, borderType=cv2.BORDER_REFLECT), np.float32)
