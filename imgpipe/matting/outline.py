"""Measures which part of a mask's contour carries a drawn line.

Drawings close their shapes with dark lines. Where most of a subject's contour carries such a line and a
stretch does not, the stretch most likely belongs to something else attached to the mask: a cloud behind a
figure, or a garment of the background's colour that was cut away. Only contours that are bright on both sides
are judged, since a dark line is not seen on dark.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.matting.border import Lab
from imgpipe.matting.trimap import Mask

#: Lightness (L, 0..100) of what is inside and outside of a contour on which a dark line would be seen.
_BRIGHT_INSIDE, _BRIGHT_OUTSIDE = 45.0, 40.0

#: A line is darker than both of its sides by this much lightness.
_LINE_DEPTH = 6.0

#: How far from the contour a line may lie, as a share of the picture's longer side, and at least, px.
_REACH_SHARE, _REACH_PX = 1 / 200, 2

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outline:
    """Shares of the mask's contour inside the picture, 0..1: ``lined``: bright on both sides, with a line
    between; ``unlined``: bright on both sides, without one."""

    lined: float
    unlined: float


def outline_of(subject: Mask, lab: Lab) -> Outline:
    """Look for lines along the contour of ``subject`` in a float32 (height, width, 3) CIE Lab picture."""
    mask = subject.astype(np.uint8)
    contour = subject & (cv2.erode(mask, _square(1), borderValue=1) == 0)
    length = int(np.count_nonzero(contour))
    if not length:
        return Outline(0.0, 0.0)
    lightness = np.ascontiguousarray(lab[..., 0])
    reach = max(_REACH_PX, round(_REACH_SHARE * max(subject.shape)))
    inside = _mean_around(lightness, cv2.erode(mask, _square(reach), borderValue=1) > 0, 3 * reach)
    outside = _mean_around(lightness, cv2.dilate(mask, _square(reach)) == 0, 3 * reach)
    bright = contour & (inside > _BRIGHT_INSIDE) & (outside > _BRIGHT_OUTSIDE)
    darkest = cv2.erode(lightness, _square(reach))
    lined = bright & (np.minimum(inside, outside) - darkest >= _LINE_DEPTH)
    unlined = bright & (cv2.dilate(lined.astype(np.uint8), _square(1)) == 0)
    return Outline(float(np.count_nonzero(lined)) / length, float(np.count_nonzero(unlined)) / length)


def _mean_around(values: Float, chosen: Mask, reach: int) -> Float:
    """Mean of ``values`` over the chosen pixels up to ``reach`` away; 0 where there are none."""
    side = (2 * reach + 1, 2 * reach + 1)
    weight = chosen.astype(np.float32)
    share = cv2.blur(weight, side)
    total = cv2.blur(values * weight, side)
    return np.asarray(np.where(share > 0, total / np.maximum(share, 1e-6), 0.0), np.float32)


def _square(reach: int) -> npt.NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
