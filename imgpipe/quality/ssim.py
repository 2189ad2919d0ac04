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

Everything is done block by block, so that the planes in between stay in a core's cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float, Plane
from imgpipe.pixels.row_bands import RowBands
from imgpipe.pixels.strips import spans
from imgpipe.quality.psnr import check_same_shape

Summary = TypeVar("Summary")
#: Rows and columns of window centres.
Block = tuple[slice, slice]

WINDOW_PX = 11
RADIUS_PX = WINDOW_PX // 2
SIGMA_PX = 1.5
C1 = (0.01 * 255.0) ** 2
C2 = (0.03 * 255.0) ** 2
#: Rows of a block of centres, and values of all channels per row: a thread's blocks lie in its core's cache.
BLOCK_ROWS, BLOCK_ROW_VALUES = 24, 1152
#: Each thread holds 3 MB: all of them stay below 100 MB, whatever the number of cores.
MAX_THREADS = 12
_MARGIN_PX = 2 * RADIUS_PX
_CENTRE = 256.0
_ACROSS = cv2.getGaussianKernel(WINDOW_PX, SIGMA_PX, cv2.CV_32F).T
#: Rows that one matrix product blurs: small enough that the zeros of its band do not count, and that no
#: BLAS takes several threads for it.
_GROUP = 8
_DOWN = np.stack([np.pad(_ACROSS[0], (k, _GROUP - 1 - k)) for k in range(_GROUP)])


def fits_window(shape: tuple[int, ...]) -> bool:
    """Whether at least one whole 11x11 window lies inside a picture of this (height, width[, ...])."""
    return min(shape[:2]) >= WINDOW_PX


def ssim_map(reference: Plane, distorted: Plane) -> Float:
    """SSIM at every window centre, mean over channels: (height - 10, width - 10) float32 in -1..1.

    Inputs (height, width[, channels]) uint8 or float32 on 0..255. Row 0 of the map is the centre at
    pixel (5, 5). Raises ValueError below 11x11 px.
    """
    whole = np.empty([max(0, side - _MARGIN_PX) for side in reference.shape[:2]], np.float32)

    def keep(block: Block, values: Float) -> None:
        whole[block] = _channel_mean(values)

    _over_blocks(reference, distorted, keep)
    return whole


def ssim(
    reference: Plane | RowBands, distorted: Plane | RowBands, weight: Float | None = None
) -> float | None:
    """Mean SSIM over all window centres (and channels), -1..1, 1 for equal pictures.

    ``weight`` (height, width) weights the centres. ``None`` where no centre has weight. Raises
    ValueError below 11x11 px.
    """

    def sums(block: Block, values: Float) -> tuple[float, float]:
        if weight is None:
            return _sum(values), float(values.size)
        w = crop_to_centres(weight)[block]
        return _sum(_channel_mean(values) * w), _sum(w)

    whole, mass = (sum(column) for column in zip(*_over_blocks(reference, distorted, sums), strict=True))
    return whole / mass if mass > 0 else None


def crop_to_centres(plane: Float) -> Float:
    """The part of a (height, width) plane where window centres lie."""
    return plane[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]


def _over_blocks(
    reference: Plane | RowBands,
    distorted: Plane | RowBands,
    summary: Callable[[Block, Float], Summary],
) -> list[Summary]:
    """``summary`` of each block of centres and its SSIM values.

    They are (rows, columns, channels), in memory that the thread's next block uses again. Rows of blocks are
    computed and summarised side by side, on as many threads as OpenCV may use and at most 12.
    """
    check_same_shape(reference, distorted, None)
    if not fits_window(reference.shape):
        raise ValueError(f"SSIM needs at least {WINDOW_PX}x{WINDOW_PX} px, got {reference.shape[:2]}")
    height, width = reference.shape[:2]
    channels = 1 if reference.ndim == 2 else reference.shape[2]
    columns = list(spans(0, width - _MARGIN_PX, max(1, BLOCK_ROW_VALUES // channels)))
    own = threading.local()

    def row(rows: slice) -> list[Summary]:
        found = []
        for part in columns:
            seen = (
                slice(rows.start, rows.stop + _MARGIN_PX),
                slice(part.start, part.stop + _MARGIN_PX),
            )
            # Channels side by side, as they lie in memory.
            a, b = (p[seen].reshape(rows.stop - rows.start + _MARGIN_PX, -1) for p in (reference, distorted))
            spaces: dict[tuple[int, ...], _Workspace] = vars(own).setdefault("spaces", {})
            if (space := spaces.get(a.shape)) is None:
                space = spaces[a.shape] = _Workspace(a.shape, channels)
            found.append(summary((rows, part), _block(a, b, space)))
        return found

    rows = list(spans(0, height - _MARGIN_PX, BLOCK_ROWS))
    threads = min(cv2.getNumThreads(), MAX_THREADS, len(rows))
    if threads <= 1:
        return [one for part in rows for one in row(part)]
    with ThreadPoolExecutor(threads) as pool:
        return [one for found in pool.map(row, rows) for one in found]


class _Workspace:
    """Planes for one block, used again for every block of its shape: asking for memory costs a third more.

    ``planes``: d, s and their squares, (4, rows, columns x channels), channels side by side as in pictures.
    """

    def __init__(self, shape: tuple[int, ...], channels: int) -> None:
        self.shape = shape
        self._channels = channels
        self._centre_rows = shape[0] - _MARGIN_PX
        groups = -(-self._centre_rows // _GROUP)
        # Rows below the block, which fill the last group, stay 0.
        self._whole = np.zeros((4, groups * _GROUP + _MARGIN_PX, shape[1]), np.float32)
        self.planes = self._whole[:, : shape[0]]
        plane, row, value = self._whole.strides
        self._groups = np.lib.stride_tricks.as_strided(
            self._whole, (4, groups, _GROUP + _MARGIN_PX, shape[1]), (plane, _GROUP * row, row, value)
        )
        self._down = np.empty((4, groups, _GROUP, shape[1]), np.float32)
        self._blurred = np.empty((4, groups * _GROUP, shape[1]), np.float32)
        self.spare = np.empty_like(self._blurred[0, : self._centre_rows])

    def blur(self) -> Float:
        """Gaussian means of the four planes at the rows of the centres, (4, rows - 10, columns x channels).

        Down by a matrix product, which with AVX-512 is faster than a filter and with AVX2 as fast, across by
        a filter. The outermost five columns are no centres, and no border rule matters to the others.
        """
        np.matmul(_DOWN, self._groups, out=self._down)
        interleaved = (-1, self.shape[1] // self._channels, self._channels)
        source, blurred = (p.reshape(interleaved) for p in (self._down, self._blurred))
        cv2.filter2D(source, cv2.CV_32F, _ACROSS, blurred, borderType=cv2.BORDER_REPLICATE)
        return self._blurred[:, : self._centre_rows]

    def centres(self, plane: Float) -> Float:
        """(rows, columns, channels) of a blurred plane, without the columns that are no centres."""
        picture = plane.reshape(plane.shape[0], -1, self._channels)
        return picture[:, RADIUS_PX:-RADIUS_PX]


def _block(a: Plane, b: Plane, space: _Workspace) -> Float:
    """SSIM at the window centres of one block, (rows, columns, channels) in a plane of ``space``."""
    cv2.subtract(a, b, space.planes[0], dtype=cv2.CV_32F)
    cv2.addWeighted(a, 1.0, b, 1.0, -_CENTRE, space.planes[1], dtype=cv2.CV_32F)
    np.square(space.planes[:2], out=space.planes[2:])
    mean_d, mean_s, var_d, var_sum = space.blur()
    var_sum -= np.square(mean_s, out=space.spare)
    mean_s += np.float32(_CENTRE)
    energy = np.square(mean_s, out=mean_s)
    mean_d_squared = np.square(mean_d, out=mean_d)
    # Rounding may leave the variance of a flat window a hair below 0: its absolute value is as near.
    cv2.absdiff(var_d, mean_d_squared, var_d)
    cv2.addWeighted(var_sum, 1.0, var_d, 1.0, 2 * C2, var_sum)
    cv2.addWeighted(energy, 1.0, mean_d_squared, 1.0, 2 * C1, energy)
    values = _one_minus_twice(mean_d_squared, energy)
    values *= _one_minus_twice(var_d, var_sum)
    return space.centres(values)


def _one_minus_twice(numerator: Float, denominator: Float) -> Float:
    """1 - 2 numerator / denominator, in the numerator's place."""
    cv2.divide(numerator, denominator, numerator, -2.0)
    numerator += np.float32(1.0)
    return numerator


def _channel_mean(values: Float) -> Float:
    """(rows, columns, channels) -> (rows, columns)."""
    if values.shape[2] == 1:
        return values[..., 0]
    mean = np.full((1, values.shape[2]), 1.0 / values.shape[2], np.float32)
    return np.asarray(cv2.transform(values, mean), np.float32).reshape(values.shape[:2])


def _sum(plane: Float) -> float:
    """Sum in float64 of (rows, columns[, channels])."""
    return float(sum(cv2.sumElems(plane)))
