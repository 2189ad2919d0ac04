"""Errors of an alpha matte against its ground truth.

SAD, MSE, Grad and Conn as defined by Rhemann, Rother, Wang, Gelautz, Kohli and Rott, "A Perceptually
Motivated Online Benchmark for Image Matting", CVPR 2009, in the scales in which they are published:

SAD     sum |a - t|, in thousands of pixels.
MSE     mean (a - t)^2, in thousandths.
Grad    sum (|grad a| - |grad t|)^2, in thousands. Gradients by first-order Gaussian derivative filters of
        sigma 1.4, each scaled to unit sum of squares.
Conn    sum |phi(a) - phi(t)|, in thousands. phi = 1 - d where d >= 0.15 else 1, with d the pixel's alpha
        above the highest level, in steps of 0.1, at which it still hangs together (4-connected) with the
        largest region where both mattes reach that level: what floats free counts, small losses do not.

Two measures of the contour where alpha is one half stand beside them, and the overlap of the areas inside.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import ConfigError
from imgpipe.pixels.round_trip import Float

Bool = npt.NDArray[np.bool_]
Double = npt.NDArray[np.float64]

GRADIENT_SIGMA_PX = 1.4
CONNECTIVITY_STEPS = 10
CONNECTIVITY_THRESHOLD = 0.15

#: Half the width of the band in which ``boundary_mae`` is taken, px.
BOUNDARY_PX = 5

#: The trimap's value of a pixel that errors are counted on.
UNKNOWN = 128

#: The derivative filter ends where the Gaussian falls below this.
_GRADIENT_CUT = 1e-2


@dataclass(frozen=True, slots=True)
class MatteErrors:
    """All are 0 for identical mattes, except ``iou``, which is 1.

    ``sad`` (sum / 1000), ``mse`` (mean x 1000), ``grad`` (/ 1000), ``conn`` (/ 1000): see the module; over
    the unknown pixels where a trimap is given, else over the picture. The rest always looks at the whole
    picture: ``iou``: intersection over union of the areas with alpha of at least one half, 0..1.
    ``boundary_mae``: mean of |a - t| within 5 px of the truth's contour, 0..1; ``None`` where the truth has
    none. ``boundary_mae_px``: mean distance between the two contours, both ways, px; ``None`` where only one
    of them exists, 0 where neither does.
    """

    sad: float
    mse: float
    grad: float
    conn: float
    iou: float
    boundary_mae: float | None
    boundary_mae_px: float | None

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


def matte_errors(
    truth_alpha: Float, result_alpha: Float, *, trimap: npt.NDArray[np.uint8] | None = None
) -> MatteErrors:
    """The errors of ``result_alpha`` against ``truth_alpha``, both float32 (height, width) in 0..1.

    ``trimap``: uint8 (height, width), 128 where SAD, MSE, Grad and Conn are counted; with no such pixel
    they are 0. Raises :class:`ConfigError` for shapes that differ and values outside 0..1.
    """
    check_alphas(truth_alpha, result_alpha, trimap)
    truth, result = np.asarray(truth_alpha, np.float32), np.asarray(result_alpha, np.float32)
    counted = np.ones(truth.shape, bool) if trimap is None else trimap == UNKNOWN
    difference = np.abs(result.astype(np.float64) - truth)
    pixels = max(int(np.count_nonzero(counted)), 1)
    return MatteErrors(
        sad=float(difference[counted].sum()) / 1000,
        mse=float(np.square(difference[counted]).sum()) / pixels * 1000,
        grad=gradient_error(truth, result, counted),
        conn=connectivity_error(truth, result, counted),
        iou=_iou(truth, result),
        boundary_mae=_boundary_error(truth, difference),
        boundary_mae_px=contour_distance_px(truth, result),
    )


def gradient_error(truth: Float, result: Float, counted: Bool) -> float:
    """Grad over the pixels ``counted``; see the module."""
    error = _gradient_magnitude(result) - _gradient_magnitude(truth)
    return float(np.square(error)[counted].sum()) / 1000


def connectivity_error(truth: Float, result: Float, counted: Bool) -> float:
    """Conn over the pixels ``counted``; see the module."""
    level = np.ones(truth.shape, np.float64)
    open_pixels = np.ones(truth.shape, bool)
    for step in range(1, CONNECTIVITY_STEPS + 1):
        threshold = np.float32(step / CONNECTIVITY_STEPS)
        lost = open_pixels & ~_largest_region((truth >= threshold) & (result >= threshold))
        level[lost] = (step - 1) / CONNECTIVITY_STEPS
        open_pixels &= ~lost
    error = np.abs(_connectedness(result, level) - _connectedness(truth, level))
    return float(error[counted].sum()) / 1000


def contour_distance_px(truth: Float, result: Float) -> float | None:
    """Mean distance between the contours at one half, px: from each to the nearest point of the other, the
    two means averaged. ``None`` where only one of them exists, 0 where neither does."""
    from scipy.spatial import cKDTree

    one, other = _contour(truth), _contour(result)
    if not len(one) or not len(other):
        return None if len(one) or len(other) else 0.0
    there, _ = cKDTree(other).query(one)
    back, _ = cKDTree(one).query(other)
    return float(there.mean() + back.mean()) / 2


def check_alphas(truth: Float, result: Float, trimap: npt.NDArray[np.uint8] | None = None) -> None:
    """Raise :class:`ConfigError` for shapes that differ and values outside 0..1."""
    if truth.ndim != 2 or truth.shape != result.shape or not truth.size:
        raise ConfigError(
            f"expected two alphas of one shape (height, width), got {truth.shape} and {result.shape}; "
            "compare mattes of the same size"
        )
    if trimap is not None and trimap.shape != truth.shape:
        raise ConfigError(f"expected a trimap of shape {truth.shape}, got {trimap.shape}")
    for name, alpha in (("truth", truth), ("result", result)):
        low, high = float(alpha.min()), float(alpha.max())
        if not (low >= 0.0 and high <= 1.0):  # so that NaN is refused as well
            raise ConfigError(f"expected the {name}'s alpha in 0..1, got {low:.4g}..{high:.4g}")


def _gradient_magnitude(alpha: Float) -> Double:
    across, along = _derivative_kernels()
    image = alpha.astype(np.float64)
    border = cv2.BORDER_REPLICATE
    x = cv2.sepFilter2D(image, cv2.CV_64F, across, along, borderType=border)
    y = cv2.sepFilter2D(image, cv2.CV_64F, along, across, borderType=border)
    return np.asarray(np.hypot(x, y))


def _derivative_kernels() -> tuple[Double, Double]:
    """The separable parts of the derivative: across the edge, along it."""
    sigma = GRADIENT_SIGMA_PX
    half = int(np.ceil(sigma * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * sigma * _GRADIENT_CUT))))
    x = np.arange(-half, half + 1, dtype=np.float64)
    gauss = np.exp(-(x**2) / (2 * sigma**2))
    derivative = x * gauss  # its sign does not matter: only magnitudes are used
    return derivative / np.linalg.norm(derivative), gauss / np.linalg.norm(gauss)


def _largest_region(mask: Bool) -> Bool:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count == 1:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _connectedness(alpha: Float, level: Double) -> Double:
    above = alpha - level
    return np.asarray(1.0 - np.where(above >= CONNECTIVITY_THRESHOLD, above, 0.0))


def _iou(truth: Float, result: Float) -> float:
    one, other = truth >= 0.5, result >= 0.5
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 1.0


def _boundary_error(truth: Float, difference: Double) -> float | None:
    inside = (truth >= 0.5).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BOUNDARY_PX + 1, 2 * BOUNDARY_PX + 1))
    band = (cv2.dilate(inside, disc) > 0) & (cv2.erode(inside, disc) == 0)
    return float(difference[band].mean()) if band.any() else None


def _contour(alpha: Float) -> Double:
    """(n, 2) points, in px, where alpha passes one half between two neighbouring pixels, interpolated;
    good to about 0.2 px on an antialiased edge, exact on a wider ramp."""
    points = []
    for axis in (0, 1):
        first = alpha[:-1] if axis == 0 else alpha[:, :-1]
        second = alpha[1:] if axis == 0 else alpha[:, 1:]
        where = np.argwhere((first >= 0.5) != (second >= 0.5)).astype(np.float64)
        at = tuple(where.astype(np.int64).T)
        low, high = first[at].astype(np.float64), second[at].astype(np.float64)
        where[:, axis] += (0.5 - low) / (high - low)
        points.append(where)
    return np.concatenate(points)
