"""Peak signal-to-noise ratio, in closed form: 10 log10(255^2 / MSE), in dB."""

from __future__ import annotations

import math

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float, Plane
from imgpipe.pixels.row_bands import RowBands

#: Elements per strip: small enough to stay in the cache, large enough that the cost of calls is negligible.
_STRIP_ELEMENTS = 1 << 19


def mean_squared_error(
    reference: Plane | RowBands, distorted: Plane | RowBands, weight: Float | None = None
) -> float | None:
    """Mean of the squared difference over all pixels and channels, in (1/255)^2 units.

    Arrays (height, width[, channels]) of one dtype, uint8 or float32, on 0..255. ``weight``
    (height, width) >= 0 weights the pixels: sum(w d^2) / sum(w). ``None`` where all weights are 0.
    Sums are kept in float64.
    """
    check_same_shape(reference, distorted, weight)
    channels = reference.shape[2] if reference.ndim == 3 else 1
    rows = max(1, _STRIP_ELEMENTS // max(1, reference.shape[1] * channels))
    total, mass = 0.0, 0.0
    for top in range(0, reference.shape[0], rows):
        a, b = reference[top : top + rows], distorted[top : top + rows]
        if weight is None:
            total += float(cv2.norm(a, b, cv2.NORM_L2SQR))
            mass += a.size
            continue
        w = weight[top : top + rows]
        squared = np.square(a.astype(np.float32) - b.astype(np.float32))
        if squared.ndim == 3:
            squared = squared.sum(axis=2)
        total += float(np.sum(squared * w, dtype=np.float64))
        mass += float(np.sum(w, dtype=np.float64)) * channels
    return total / mass if mass > 0 else None


def psnr(
    reference: Plane | RowBands, distorted: Plane | RowBands, weight: Float | None = None
) -> float | None:
    """PSNR in dB of two arrays on 0..255; ``None`` where they are identical (infinite), see above.

    Equals ``skimage.metrics.peak_signal_noise_ratio(..., data_range=255)`` for ``weight=None``.
    """
    error = mean_squared_error(reference, distorted, weight)
    if not error:
        return None
    return 10.0 * math.log10(255.0**2 / error)


def check_same_shape(reference: Plane | RowBands, distorted: Plane | RowBands, weight: Float | None) -> None:
    if reference.shape != distorted.shape or reference.dtype != distorted.dtype:
        raise ValueError(
            f"expected two arrays of one shape and dtype, got {reference.shape} {reference.dtype} "
            f"and {distorted.shape} {distorted.dtype}"
        )
    if weight is not None and weight.shape != reference.shape[:2]:
        raise ValueError(f"expected weights of shape {reference.shape[:2]}, got {weight.shape}")
