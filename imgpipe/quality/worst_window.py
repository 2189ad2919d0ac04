"""The worst place of a picture: the lowest mean SSIM of any 16 px window.

A mean over the picture hides an erased or blurred patch; the lowest window does not.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float

WINDOW_PX = 16
#: Windows with less visible weight than this share are not judged.
_MIN_WEIGHT = 0.1


def worst_window(similarity: Float, weight: Float | None = None) -> tuple[float, tuple[int, int]] | None:
    """(lowest window mean, (x, y) of that window's top left) of an SSIM map.

    ``similarity``, ``weight``: (height, width) float32. Windows are 16x16, or the map's size where that
    is smaller, at every position. A window's mean is weighted; windows that are almost invisible do not
    count. ``None`` where none counts.
    """
    size = (min(WINDOW_PX, similarity.shape[1]), min(WINDOW_PX, similarity.shape[0]))
    if weight is None:
        means = _window_means(similarity, size)
    else:
        mass = _window_means(weight, size)
        means = _window_means(similarity * weight, size)
        means /= np.maximum(mass, np.float32(1e-6))
        means[mass < _MIN_WEIGHT] = np.inf
    y, x = np.unravel_index(int(np.argmin(means)), means.shape)
    lowest = float(means[y, x])
    return (lowest, (int(x), int(y))) if np.isfinite(lowest) else None


def _window_means(plane: Float, size: tuple[int, int]) -> Float:
    width, height = size
    means = cv2.blur(plane, size, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(means, np.float32)[: plane.shape[0] - height + 1, : plane.shape[1] - width + 1]
