"""Colour shift: the mean change of a picture's colours, over the whole picture and locally.

SSIM hardly sees a constant offset, and PSNR cannot tell it from noise; people see it at once
(yellowed skin). The mean over the picture averages noise away and leaves the offset.

With alpha the pictures are composited, so a difference d is already the visible one, alpha times the
colour's; where nothing is visible it is 0. The mean over what is visible is therefore sum(d) / sum(w).
Weighting d by w again would count every softened border as a shift: softening takes from the opaque side,
where w is large, and gives to the transparent one, where it is small.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.resize import area_average
from imgpipe.pixels.round_trip import Float
from imgpipe.pixels.row_bands import Rows
from imgpipe.pixels.strips import spans

#: Gaussian sigma of the local average, px at comparison size.
LOCAL_SIGMA_PX = 12.0
_REDUCTION = 4
_MIN_WEIGHT = 0.25
#: A multiple of the reduction.
_STRIP_ROWS = 64


def colour_shift(reference: Rows, distorted: Rows, weight: Float | None = None) -> float | None:
    """Largest of the channels' abs(mean difference), in 1/255; ``None`` where nothing is visible.

    Arrays (height, width, channels) float32 on 0..255; ``weight`` (height, width).
    """
    difference = np.zeros(4)  # sums in float64
    for rows in spans(0, reference.shape[0], _STRIP_ROWS):
        difference += np.subtract(cv2.sumElems(distorted[rows]), cv2.sumElems(reference[rows]))
    difference /= reference.shape[0] * reference.shape[1]
    visible = 1.0 if weight is None else float(weight.mean(dtype=np.float64))
    return float(np.max(np.abs(difference))) / visible if visible > 0 else None


def local_colour_shift(reference: Rows, distorted: Rows, weight: Float | None = None) -> float | None:
    """Largest abs of the low-passed difference over pixels and channels, in 1/255.

    Low-pass: area average over 4x4 px (the border replicated to a multiple of 4), then a Gaussian of
    sigma 3 there, together sigma 12 px. With ``weight``: blur(difference) / blur(weight), where
    blur(weight) is at least 0.25.
    """
    shifts = np.abs(_low_pass(_quarter(distorted, reference)))
    if weight is None:
        return float(shifts.max())
    shift = shifts.max(axis=2)
    mass = _low_pass(_quarter(weight))
    visible = mass >= _MIN_WEIGHT
    return float(np.max(shift[visible] / mass[visible])) if visible.any() else None


def _quarter(values: Rows, less: Rows | None = None) -> Float:
    """Area average over 4x4 px of ``values``, or of ``values - less``."""
    height, width = values.shape[:2]
    right = -width % _REDUCTION
    parts = []
    for rows in spans(0, height, _STRIP_ROWS):
        strip = values[rows]
        if less is not None:
            strip = np.asarray(cv2.subtract(strip, less[rows], dtype=cv2.CV_32F), np.float32)
        below = -len(strip) % _REDUCTION  # The last strip's.
        if below or right:
            padded = cv2.copyMakeBorder(strip, 0, below, 0, right, cv2.BORDER_REPLICATE)
            strip = np.asarray(padded, np.float32).reshape(len(padded), width + right, *values.shape[2:])
        size = (strip.shape[1] // _REDUCTION, strip.shape[0] // _REDUCTION)
        parts.append(area_average(strip, size))
    return np.concatenate(parts)


def _low_pass(values: Float) -> Float:
    sigma = LOCAL_SIGMA_PX / _REDUCTION
    blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(values.shape)
