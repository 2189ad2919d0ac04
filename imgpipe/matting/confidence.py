"""Confidence of the classical backend in its mask.

Each part is a ramp between a value seen on wrong masks and one seen on right ones, measured on drawings with
known mattes; the product is the confidence.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.matting.border import Border, Distance, Lab, Levels
from imgpipe.matting.letterbox import resize
from imgpipe.matting.matte import Alpha
from imgpipe.matting.outline import outline_of
from imgpipe.matting.refine import overlap_iou
from imgpipe.matting.trimap import Mask

#: Parts smaller than this share of the subject are specks, as of stars, windows, screen tone.
_SPECK = 1e-3

#: From this explained share of the border on, no other objects are expected behind the subject.
_NOTHING_ELSE = 0.9

#: Noise (CIE76) from which lines cannot be distinguished.
_LINES_DROWN = 2.0

#: From this share of lined contour on, a subject counts as drawn with lines.
_DRAWN_WITH_LINES = 0.2

#: What a weak part of the confidence means, in words.
WHY_UNSURE: Mapping[str, str] = {
    "border_explained": "the picture's border has no background colour that holds along it",
    "border_quiet": "the picture's border is busy",
    "separation": "the subject hardly differs from the background",
    "border_free": "what differs from the background touches too much of the border",
    "border_whole": "what differs from the background interrupts the border in many places",
    "one_subject": "what differs from the background is scattered over the picture",
    "agreement": "border colours and GrabCut find different subjects",
    "clear": "much of the picture is neither clearly background nor clearly subject",
    "no_specks": "the background has many small objects, some of which may be attached to the subject",
    "outline": "part of the contour has no line and the rest has one, as where a cloud touches a figure",
}


def confidence_parts(
    subject: Mask, lab: Lab, distance: Distance, cut: Alpha | None, border: Border, levels: Levels
) -> dict[str, float]:
    """The factors of the confidence, each 0..1.

    ``subject``: the mask; ``lab``: the picture; ``distance``: of each pixel to the border's colours; ``cut``:
    GrabCut's mask at the working size, where there is one.
    """
    return (
        _border_parts(subject, distance, border, levels)
        | _mask_parts(subject, cut)
        | {
            "no_specks": _ramp(_speck_share(subject, distance > levels.high), 0.008, 0.003),
            "outline": _outline_part(subject, lab, border),
        }
    )


def _border_parts(subject: Mask, distance: Distance, border: Border, levels: Levels) -> dict[str, float]:
    doubtful = (distance > levels.low) & (distance < levels.high)
    near_edge = cv2.morphologyEx(subject.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))
    interruptions = _frame(distance > levels.high)
    runs = _runs(interruptions, interruptions.size // 200)
    apart = float(np.median(distance[subject])) if subject.any() else 0.0
    return {
        "border_explained": _ramp(border.explained, 0.4, 0.75),
        "border_whole": _ramp(runs, 7.0, 3.0),
        "border_quiet": _ramp(border.noise, 12.0, 6.0),
        "separation": _ramp(apart, levels.low, 1.1 * levels.high),
        "clear": _ramp(float(np.mean(doubtful & (near_edge == 0))), 0.3, 0.05),
    }


def _mask_parts(subject: Mask, cut: Alpha | None) -> dict[str, float]:
    frame = _frame(subject)
    _, _, stats, _ = cv2.connectedComponentsWithStats(subject.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = float(areas.max() / areas.sum()) if areas.size else 0.0
    agreement = 1.0
    if cut is not None:
        agreement = overlap_iou(resize(cut, *subject.shape), subject.astype(np.float32))
    return {
        "border_free": _ramp(float(frame.mean()), 0.5, 0.25),
        "one_subject": _ramp(largest, 0.4, 0.8),
        "agreement": _ramp(agreement, 0.5, 0.8),
    }


def _speck_share(subject: Mask, off_background: Mask) -> float:
    """Area of the small parts that are neither background nor part of the mask, as a share of the mask's."""
    area = max(int(np.count_nonzero(subject)), 1)
    touching = cv2.dilate(subject.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    _, _, stats, _ = cv2.connectedComponentsWithStats((off_background & ~touching).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return float(areas[areas < _SPECK * area].sum()) / area


def _outline_part(subject: Mask, lab: Lab, border: Border) -> float:
    if border.explained >= _NOTHING_ELSE or border.noise > _LINES_DROWN:
        return 1.0
    outline = outline_of(subject, lab)
    if outline.lined < _DRAWN_WITH_LINES * (outline.lined + outline.unlined):
        return 1.0  # not drawn with lines: missing lines are no evidence
    return _ramp(outline.unlined, 0.10, 0.03)


def _frame(mask: Mask) -> npt.NDArray[np.bool_]:
    """The picture's outermost pixels, clockwise."""
    return np.concatenate([mask[0], mask[:, -1], mask[-1, ::-1], mask[::-1, 0]])


def _runs(around: Mask, shortest: int) -> int:
    """How many true stretches longer than ``shortest`` a closed line of pixels has."""
    if around.all() or not around.any():
        return int(around.any())
    line = np.roll(around, -int(np.argmin(around))).astype(np.int8)
    steps = np.diff(np.concatenate(([0], line, [0])))
    lengths = np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)
    return int(np.count_nonzero(lengths > shortest))


def _ramp(value: float, worst: float, best: float) -> float:
    """0 at ``worst``, 1 at ``best``, linear between."""
    return max(0.0, min(1.0, (value - worst) / (best - worst)))
