"""Scores of a matte against a binary truth, as the tables of background removal publish them.

Both planes are rounded to 8 bits; truth is where its alpha is above 128 of 255. Definitions, each with the
choices of ToonOut's evaluator (github.com/MatteoKartoon/BiRefNet, ``birefnet/evaluation/metrics.py``), which
does not stretch the matte to its own minimum and maximum:

s_measure           Fan, Cheng, Liu, Li, Borji, "Structure-measure", ICCV 2017; alpha 0.5.
weighted_f          Margolin, Zelnik-Manor, Tal, "How to Evaluate Foreground Maps", CVPR 2014; beta 1.
boundary_iou        Cheng, Girshick, Dollar, Berg, Kirillov, "Boundary IoU", CVPR 2021: the IoU of what lies
                    inside each mask within 2 % of the diagonal of its border; the matte cut at one half.
boundary_iou_mean   The evaluator's: the matte's boundary is a grey erosion away from the matte, and the mean
                    is taken over all 256 levels that this can be cut at.
mba                 Cheng, Chung, Tai, Tang, "CascadePSP", CVPR 2020: share of pixels on the right side of one
                    half, within five widths of the truth's border, from 1 px to (width + height) / 300; mean.
pixel_accuracy      ToonOut (arXiv 2509.06839): pixels farther than 10 of 255 from the truth's grey value, of
                    which 5 x 5 are wrong, as a share of the truth's area; (1 - share)^2. There a share above
                    1 raises it again; here it is 0.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float
from imgpipe.quality.matte_error import check_alphas

Bool = npt.NDArray[np.bool_]
Double = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

_HALF = 128
_TOLERANCE_255, _SPECK_PX = 10, 5
_BOUNDARY_SHARE = 0.02
_MBA_WIDTHS, _MBA_PART = 5, 300
_EPS = float(np.spacing(1))
#: Of weighted F: the Gaussian of its window, and the distance over which a false pixel's weight grows, px.
_WINDOW_PX, _SIGMA_PX, _REACH_PX = 7, 5, 5


def mask_scores(truth_alpha: Float, result_alpha: Float) -> dict[str, float | None]:
    """Name -> score, 0..1, higher is better, of ``result_alpha`` against ``truth_alpha``.

    Both float32 (height, width) in 0..1. ``None`` where the truth has nothing that the score looks at: no
    subject, or for ``mba`` no border. Raises :class:`ConfigError` as
    :func:`imgpipe.quality.matte_error.matte_errors`.
    """
    check_alphas(truth_alpha, result_alpha)
    truth, result = (np.rint(255 * alpha).astype(np.uint8) for alpha in (truth_alpha, result_alpha))
    subject, matte = truth > _HALF, result / 255.0
    return {
        "s_measure": s_measure(subject, matte),
        "weighted_f": weighted_f(subject, matte) if subject.any() else None,
        "boundary_iou": boundary_iou(subject, result > _HALF),
        "boundary_iou_mean": boundary_iou_mean(subject, result),
        "mba": mean_boundary_accuracy(subject, result > _HALF),
        "pixel_accuracy": pixel_accuracy(truth, result),
    }


def s_measure(subject: Bool, matte: Double) -> float:
    """Half object similarity, half region similarity; of an empty or full truth, how empty or full it is."""
    share = float(subject.mean())
    if share in (0.0, 1.0):
        return abs(1.0 - share - float(matte.mean()))
    inside, outside = _closeness(matte[subject]), _closeness(1.0 - matte[~subject])
    by_object = share * inside + (1.0 - share) * outside
    return max(0.0, (by_object + _by_region(subject, matte)) / 2)


def weighted_f(subject: Bool, matte: Double) -> float:
    """F1 of errors that count less beside other errors and more far from the subject, which is not empty."""
    from scipy.ndimage import distance_transform_edt

    distance, nearest = distance_transform_edt(~subject, return_indices=True)
    error = np.abs(matte - subject)
    carried = error[tuple(nearest)]  # Outside, the error of the nearest pixel of the subject.
    gauss = cv2.getGaussianKernel(_WINDOW_PX, _SIGMA_PX, cv2.CV_64F)
    smoothed = cv2.sepFilter2D(carried, cv2.CV_64F, gauss, gauss, borderType=cv2.BORDER_CONSTANT)
    missed = np.minimum(error, smoothed)[subject]
    weight = 2.0 - np.exp(np.log(0.5) / _REACH_PX * distance[~subject])
    false = float((error[~subject] * weight).sum())
    found = missed.size - float(missed.sum())
    recall, precision = found / missed.size, found / (found + false + _EPS)
    return 2 * recall * precision / (recall + precision + _EPS)


def boundary_iou(subject: Bool, mask: Bool) -> float | None:
    """IoU of the two inner boundaries; ``None`` where neither mask has one."""
    one, other = _inner(subject.astype(np.uint8)) > 0, _inner(mask.astype(np.uint8)) > 0
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else None


def boundary_iou_mean(subject: Bool, matte_255: U8) -> float | None:
    """Mean over the levels 0..255 of the IoU of the truth's boundary and the matte's of at least a level."""
    boundary, grey = _inner(subject.astype(np.uint8)) > 0, _inner(matte_255)
    if not boundary.any():
        return None
    true, false = (np.bincount(grey[where], minlength=256)[::-1].cumsum() for where in (boundary, ~boundary))
    return float((true / (np.count_nonzero(boundary) + false)).mean())


def mean_boundary_accuracy(subject: Bool, mask: Bool) -> float | None:
    """Share of equal pixels around the truth's border, mean of five widths; ``None`` without a border."""
    height, width = subject.shape
    widest, plane = (height + width) / _MBA_PART, subject.astype(np.uint8)
    shares = []
    for step in range(_MBA_WIDTHS):
        radius = 1 + int((widest - 1) / _MBA_WIDTHS * step)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        band = cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, disc) > 0
        if not band.any():
            return None
        shares.append(float((subject == mask)[band].mean()))
    return sum(shares) / len(shares)


def pixel_accuracy(truth_255: U8, result_255: U8) -> float | None:
    """See the module; ``None`` where the truth has no subject."""
    area = int(np.count_nonzero(truth_255 > _HALF))
    if not area:
        return None
    wrong = (cv2.absdiff(truth_255, result_255) > _TOLERANCE_255).astype(np.uint8)
    solid = cv2.erode(wrong, np.ones((_SPECK_PX, _SPECK_PX), np.uint8))
    return max(0.0, 1.0 - int(solid.sum()) / area) ** 2


def _closeness(values: Double) -> float:
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread + _EPS)


def _by_region(subject: Bool, matte: Double) -> float:
    """Similarity of the four quarters around the subject's centroid, weighted by their areas."""
    row, column = (int(place) + 1 for place in np.argwhere(subject).mean(axis=0).round())
    quarters = [
        (slice(*rows), slice(*columns))
        for rows in ((None, row), (row, None))
        for columns in ((None, column), (column, None))
    ]
    return sum(
        subject[part].size / subject.size * _similarity(matte[part], subject[part].astype(np.float64))
        for part in quarters
        if subject[part].size
    )


def _similarity(one: Double, other: Double) -> float:
    """SSIM of whole planes without constants; 1 where it is 0 / 0, as of flat planes."""
    x, y, count = float(one.mean()), float(other.mean()), max(one.size - 1, 1)
    both = float(((one - x) * (other - y)).sum()) / count
    spread = (float(np.square(one - x).sum()) + float(np.square(other - y).sum())) / count
    above, below = 4 * x * y * both, (x**2 + y**2) * spread
    if above == 0:
        return 1.0 if below == 0 else 0.0
    return above / (below + _EPS)


def _inner(plane: U8) -> U8:
    """A mask less its erosion by 2 % of the diagonal, px by px; beyond the picture's border lies nothing."""
    radius = max(1, round(_BOUNDARY_SHARE * float(np.hypot(*plane.shape))))
    square, nothing = np.ones((3, 3), np.uint8), cv2.BORDER_CONSTANT
    eroded = cv2.erode(plane, square, iterations=radius, borderType=nothing, borderValue=0)
    return np.asarray(plane - eroded, np.uint8)
