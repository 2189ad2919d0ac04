"""Structural similarity: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.

The authors' setting: 11x11 Gaussian window of sigma 1.5, population covariance, K1 0.01, K2 0.03,
data range 255, only windows that lie wholly inside. That is ``skimage.metrics.structural_similarity``
with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255``.

Computed in float32 in the difference form. With d = a - b and the Gaussian mean E,

    2 cov(a, b) = var(a) + var(b) - var(d)
    cs = (2 cov + C2) / (var(a) + var(b) + C2) = 1 - var(d) / (var(a) + var(b) + C2)
    l  = (2 mu_a mu_b + C1) / (mu_a^2 + mu_b^2 + C1) = 1 - mu_d^2 / (mu_a^2 + mu_b^2 + C1)

Where a and b are nearly equal the small quantity var(d) is computed directly and not as the difference
of two large ones, so float32 suffices; it takes four blurs and never exceeds 1. Variances do not change
when a constant is subtracted, so 128 is, which quarters the rounding error of E[a^2].
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from imgpipe.quality.psnr import check_same_shape
from imgpipe.quality.round_trip import Float, Plane

WINDOW_PX = 11
RADIUS_PX = WINDOW_PX // 2
SIGMA_PX = 1.5
C1 = (0.01 * 255.0) ** 2
C2 = (0.03 * 255.0) ** 2
STRIP_ROWS = 128
_CENTRE = 128.0


def fits_window(shape: tuple[int, ...]) -> bool:
    """Whether at least one whole 11x11 window lies inside a picture of this (height, width[, ...])."""
    return min(shape[:2]) >= WINDOW_PX


def ssim_strips(reference: Plane, distorted: Plane) -> Iterator[tuple[int, Float]]:
    """(first row, map) per strip of window centres, mean over channels, float32.

    Inputs (height, width[, channels]) uint8 or float32 on 0..255. Row 0 of the maps is the centre at
    pixel (5, 5): the whole map is (height - 10, width - 10). Raises ValueError below 11x11 px.
    """
    check_same_shape(reference, distorted, None)
    if not fits_window(reference.shape):
        raise ValueError(f"SSIM needs at least {WINDOW_PX}x{WINDOW_PX} px, got {reference.shape[:2]}")
    centres = reference.shape[0] - 2 * RADIUS_PX
    for top in range(0, centres, STRIP_ROWS):
        rows = slice(top, min(top + STRIP_ROWS, centres) + 2 * RADIUS_PX)
        values = _strip(reference[rows].astype(np.float32), distorted[rows].astype(np.float32))
        yield top, values.mean(axis=2, dtype=np.float32) if values.ndim == 3 else values


def ssim_map(reference: Plane, distorted: Plane) -> Float:
    """The whole map of :func:`ssim_strips`: (height - 10, width - 10), in -1..1."""
    return np.concatenate([values for _, values in ssim_strips(reference, distorted)])


def ssim(reference: Plane, distorted: Plane, weight: Float | None = None) -> float | None:
    """Mean SSIM over all window centres (and channels), -1..1, 1 for equal pictures.

    ``weight`` (height, width) weights the centres. ``None`` where no centre has weight. Raises
    ValueError below 11x11 px.
    """
    total, mass = 0.0, 0.0
    for top, values in ssim_strips(reference, distorted):
        if weight is None:
            total += float(values.sum(dtype=np.float64))
            mass += values.size
            continue
        w = crop_to_centres(weight)[top : top + values.shape[0]]
        total += float(np.sum(values * w, dtype=np.float64))
        mass += float(w.sum(dtype=np.float64))
    return total / mass if mass > 0 else None


def crop_to_centres(plane: Float) -> Float:
    """The part of a (height, width) plane where window centres lie."""
    return plane[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]


def _strip(a: Float, b: Float) -> Float:
    difference = a - b
    a -= _CENTRE
    b -= _CENTRE
    mean_a, mean_d = _blur(a), _blur(difference)
    var_d = _blur(np.square(difference)) - np.square(mean_d)
    mean_b = mean_a - mean_d
    np.square(a, out=a)
    a += np.square(b)
    var_sum = _blur(a) - np.square(mean_a) - np.square(mean_b)
    # Rounding may leave a variance of a flat window a hair below 0.
    np.maximum(var_d, 0.0, out=var_d)
    np.maximum(var_sum, 0.0, out=var_sum)
    contrast_structure = 1.0 - var_d / (var_sum + np.float32(C2))
    mean_a += _CENTRE
    mean_b += _CENTRE
    energy = np.square(mean_a) + np.square(mean_b) + np.float32(C1)
    result: Float = contrast_structure * (1.0 - np.square(mean_d) / energy)
    return result


def _blur(plane: Float) -> Float:
    """Gaussian mean at the centres only, so that no border rule takes part."""
    blurred = cv2.GaussianBlur(plane, (WINDOW_PX, WINDOW_PX), SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]
