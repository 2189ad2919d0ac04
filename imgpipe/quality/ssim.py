"""Structural similarity: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.

The authors' setting: 11x11 Gaussian window of sigma 1.5, population covariance, K1 0.01, K2 0.03,
data range 255, only windows that lie wholly inside. That is ``skimage.metrics.structural_similarity``
with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255``.

Computed in float32 from the difference d = a - b and the sum s = a + b. With the Gaussian mean E,
variances and means obey var(a) + var(b) = (var(s) + var(d)) / 2 and 2 cov(a, b) = (var(s) - var(d)) / 2, so

    cs = (2 cov + C2) / (var(a) + var(b) + C2) = 1 - 2 var(d) / (var(s) + var(d) + 2 C2)
    l  = (2 mu_a mu_b + C1) / (mu_a^2 + mu_b^2 + C1) = 1 - 2 mu_d^2 / (mu_s^2 + mu_d^2 + 2 C1)

Where a and b are nearly equal the small quantity var(d) is computed directly and not as the difference
of two large ones, so float32 suffices; it takes four blurs and never exceeds 1. Variances do not change
when a constant is subtracted, so 256 is from s, which quarters the rounding error of E[s^2].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.quality.psnr import check_same_shape
from imgpipe.quality.round_trip import Float, Plane

Summary = TypeVar("Summary")

WINDOW_PX = 11
RADIUS_PX = WINDOW_PX // 2
SIGMA_PX = 1.5
C1 = (0.01 * 255.0) ** 2
C2 = (0.03 * 255.0) ** 2
STRIP_ROWS = 512
#: Strips are cut into blocks of this width, whose intermediate planes stay in a core's cache.
_BLOCK_COLUMNS = 128
_CENTRE = 256.0


def fits_window(shape: tuple[int, ...]) -> bool:
    """Whether at least one whole 11x11 window lies inside a picture of this (height, width[, ...])."""
    return min(shape[:2]) >= WINDOW_PX


def ssim_strips(reference: Plane, distorted: Plane) -> Iterator[tuple[int, Float]]:
    """(first row, map) per strip of window centres, mean over channels, float32.

    Inputs (height, width[, channels]) uint8 or float32 on 0..255. Row 0 of the maps is the centre at
    pixel (5, 5): the whole map is (height - 10, width - 10). Raises ValueError below 11x11 px.
    """
    yield from _strips(reference, distorted, lambda top, values, _: (top, values))


def _strips(
    reference: Plane, distorted: Plane, summary: Callable[[int, Float, Float], Summary]
) -> Iterator[Summary]:
    """``summary`` of each strip's first row, its map, and the map of its contrast-structure term.

    Strips are computed and summarised side by side on as many threads as OpenCV may use.
    """
    check_same_shape(reference, distorted, None)
    if not fits_window(reference.shape):
        raise ValueError(f"SSIM needs at least {WINDOW_PX}x{WINDOW_PX} px, got {reference.shape[:2]}")
    tops = range(0, reference.shape[0] - 2 * RADIUS_PX, STRIP_ROWS)
    threads = min(cv2.getNumThreads(), len(tops))
    if threads <= 1:
        yield from (summary(*_strip(reference, distorted, top)) for top in tops)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda top: summary(*_strip(reference, distorted, top)), tops)


def _strip(reference: Plane, distorted: Plane, top: int) -> tuple[int, Float, Float]:
    """(``top``, SSIM, contrast-structure) of one strip of centres, computed block by block."""
    margin = 2 * RADIUS_PX
    rows = slice(top, min(top + STRIP_ROWS + margin, reference.shape[0]))
    width = reference.shape[1] - margin
    values, structure = np.empty((2, rows.stop - top - margin, width), np.float32)
    space: _Workspace | None = None
    for left in range(0, width, _BLOCK_COLUMNS):
        right = min(left + _BLOCK_COLUMNS, width)
        a, b = (np.ascontiguousarray(p[rows, left : right + margin]) for p in (reference, distorted))
        if space is None or space.difference.shape != a.shape:
            space = _Workspace(a.shape)
        luminance, contrast_structure = _block(a, b, space)
        structure[:, left:right] = _channel_mean(contrast_structure)
        luminance *= contrast_structure
        values[:, left:right] = _channel_mean(luminance)
    return top, values, structure


def ssim_map(reference: Plane, distorted: Plane) -> Float:
    """The whole map of :func:`ssim_strips`: (height - 10, width - 10), in -1..1."""
    return np.concatenate([values for _, values in ssim_strips(reference, distorted)])


def ssim(reference: Plane, distorted: Plane, weight: Float | None = None) -> float | None:
    """Mean SSIM over all window centres (and channels), -1..1, 1 for equal pictures.

    ``weight`` (height, width) weights the centres. ``None`` where no centre has weight. Raises
    ValueError below 11x11 px.
    """
    means = similarity_means(reference, distorted, weight)
    return None if means is None else means[0]


def similarity_means(
    reference: Plane, distorted: Plane, weight: Float | None = None
) -> tuple[float, float] | None:
    """(mean SSIM, mean of its contrast-structure term), as :func:`ssim` takes and weights them."""

    def sums(top: int, values: Float, structure: Float) -> tuple[float, float, float]:
        if weight is None:
            mass = float(values.size)
        else:
            w = crop_to_centres(weight)[top : top + values.shape[0]]
            values, structure, mass = values * w, structure * w, float(w.sum(dtype=np.float64))
        return float(values.sum(dtype=np.float64)), float(structure.sum(dtype=np.float64)), mass

    parts = list(_strips(reference, distorted, sums))
    whole, structure, mass = (sum(column) for column in zip(*parts, strict=True))
    return (whole / mass, structure / mass) if mass > 0 else None


def crop_to_centres(plane: Float) -> Float:
    """The part of a (height, width) plane where window centres lie."""
    return plane[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]


class _Workspace:
    """Planes for one block, used again for every block of its shape: asking for memory costs a third more."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.difference, self.total = np.empty((2, *shape), np.float32)
        self.blurred = np.empty((4, *shape), np.float32)
        self.squares = np.empty((2, *_centres(self.total).shape), np.float32)


def _block(a: npt.NDArray[Any], b: npt.NDArray[Any], space: _Workspace) -> tuple[Float, Float]:
    """(l, cs) at the window centres of one block, in planes of ``space``."""
    cv2.subtract(a, b, space.difference, dtype=cv2.CV_32F)
    cv2.addWeighted(a, 1.0, b, 1.0, -_CENTRE, space.total, dtype=cv2.CV_32F)
    mean_d = _blur(space.difference, space.blurred[0])
    mean_s = _blur(space.total, space.blurred[1])
    var_d = _blur(np.square(space.difference, out=space.difference), space.blurred[2])
    var_sum = _blur(np.square(space.total, out=space.total), space.blurred[3])
    mean_d_squared = np.square(mean_d, out=space.squares[0])
    var_d -= mean_d_squared
    # Rounding may leave a variance of a flat window a hair below 0.
    np.maximum(var_d, 0.0, out=var_d)
    var_sum -= np.square(mean_s, out=space.squares[1])
    var_sum += var_d
    var_sum += np.float32(2 * C2)
    mean_s += np.float32(_CENTRE)
    energy = np.square(mean_s, out=space.squares[1])
    energy += mean_d_squared
    energy += np.float32(2 * C1)
    return _one_minus_twice(mean_d_squared, energy), _one_minus_twice(var_d, var_sum)


def _one_minus_twice(numerator: Float, denominator: Float) -> Float:
    """1 - 2 numerator / denominator, in the numerator's place."""
    numerator /= denominator
    numerator *= np.float32(-2.0)
    numerator += np.float32(1.0)
    return numerator


def _channel_mean(values: Float) -> Float:
    if values.ndim == 2:
        return values
    mean = np.full((1, values.shape[2]), 1.0 / values.shape[2], np.float32)
    return np.asarray(cv2.transform(values, mean), np.float32).reshape(values.shape[:2])


def _blur(plane: Float, blurred: Float) -> Float:
    """Gaussian mean at the centres only, so that no border rule takes part; a view of ``blurred``."""
    cv2.GaussianBlur(plane, (WINDOW_PX, WINDOW_PX), SIGMA_PX, blurred, borderType=cv2.BORDER_REPLICATE)
    return _centres(blurred)


def _centres(block: Float) -> Float:
    return block[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]
