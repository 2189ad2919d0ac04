"""Whether a matte's border is a border of the picture.

A hard border between unlike colours is an edge of the picture, across which its colours change. The change is
searched within 2 px, in the direction in which alpha falls, so that drawn lines that cross a border do not
count. Lengths are shares of the root of the picture's area; the picture's own sides are no border.

blind_border   longest stretch of hard border without an edge (change below 4/255 per px).
false_border   longest closed border, of a hole or a loose piece, of which a quarter or more has none (8/255).
cut            longest straight horizontal or vertical border with the same colours on both sides.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float
from imgpipe.quality.matte_view import (
    Mask,
    MatteView,
    grown,
    largest,
    mean_around,
    shrunk,
    slopes,
)
from imgpipe.quality.report import EdgeBox

Evidence = tuple[dict[str, float], tuple[EdgeBox, ...]]

_NO_EDGE, _WEAK_EDGE = 4.0, 8.0
_MARGIN_PX = 3
#: A closed border, and a straight one, count from these shares of the side on.
_CLOSED_LENGTH, _STRAIGHT_LENGTH = 0.03, 0.04
#: Colours this near are the same, 1/255.
_SAME_COLOUR = 12


def border_evidence(view: MatteView) -> Evidence:
    """(name, as the module lists them -> value; where each is worst, px of the source)."""
    alpha = view.alpha
    found = _edge_along_alpha(view)
    edge = _rim(alpha >= 0.5)
    hard = edge & (grown(alpha, 3) - shrunk(alpha, 3) > 0.6)
    stretch, length = _longest_stretch(view, hard, hard & (found < _NO_EDGE))
    closed, closed_length = _worst_closed(view, hard, hard & (found < _WEAK_EDGE))
    cut, cut_length = _straight_cut(view)
    facts = {
        "blind_border": length,
        "false_border": closed_length,
        "cut": cut_length,
    }
    places = (stretch, closed, cut)
    boxes = [view.box(where, name, facts[name]) for where, name in zip(places, facts, strict=True)]
    return facts, tuple(box for found_boxes in boxes for box in found_boxes)


def _edge_along_alpha(view: MatteView) -> Float:
    """Largest change of colour along alpha's gradient within 2 px, 1/255 per px."""
    x, y = slopes(np.asarray(cv2.GaussianBlur(view.alpha, (0, 0), 1.2), np.float32))
    steep = cv2.magnitude(x, y)
    unit = np.maximum(steep, 1e-6)
    along_x, along_y = x / unit, y / unit
    across = largest(np.abs(cx * along_x + cy * along_y) for cx, cy in view.slopes)
    return grown(across * (steep > 1e-3), 2)


def _rim(inside: Mask) -> Mask:
    """Pixels inside that touch the outside, away from the picture's sides."""
    mask = inside.view(np.uint8)
    rim = np.zeros_like(inside)
    m = _MARGIN_PX
    rim[m:-m, m:-m] = (mask != cv2.erode(mask, np.ones((3, 3), np.uint8)))[m:-m, m:-m]
    return rim


def _longest_stretch(view: MatteView, hard: Mask, blind: Mask) -> tuple[Mask, float]:
    window = view.share_of_side(40, 9)
    density = mean_around(blind, window) / np.maximum(mean_around(hard, window), 1e-6)
    lone = hard & (density > 0.7)
    joined = cv2.dilate(lone.view(np.uint8), np.ones((5, 5), np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    lengths = np.bincount(labels[lone], minlength=max(count, 2))
    worst = 1 + int(np.argmax(lengths[1:]))
    return lone & (labels == worst), float(lengths[worst]) / view.side


def _worst_closed(view: MatteView, hard: Mask, blind: Mask) -> tuple[Mask, float]:
    """Of loose pieces, and of holes: background that does not reach the picture's sides."""
    subject = view.alpha >= 0.5
    _, pieces = cv2.connectedComponents(subject.view(np.uint8), connectivity=4)
    count, holes = cv2.connectedComponents((~subject).view(np.uint8), connectivity=4)
    inner = np.arange(count, dtype=np.float32)
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        inner[edge] = 0
    beside = np.asarray(grown(inner[holes], 1), np.int32)  # the rim lies in the subject
    worst, length = np.zeros_like(hard), 0.0
    for owner in (np.asarray(pieces, np.int32), beside):
        whole = np.bincount(owner[hard], minlength=2)
        lost = np.bincount(owner[blind], minlength=whole.size)
        lost[(whole < _CLOSED_LENGTH * view.side) | (lost < 0.25 * whole)] = 0
        lost[0] = 0
        label = int(np.argmax(lost))
        if lost[label] > length * view.side:
            worst, length = blind & (owner == label), float(lost[label]) / view.side
    return worst, length


def _straight_cut(view: MatteView) -> tuple[Mask, float]:
    inside, worst, length = view.alpha >= 0.5, np.zeros(view.alpha.shape, np.bool_), 0.0
    least = max(3.0, _STRAIGHT_LENGTH * view.side)
    for turned in (False, True):
        mask, alpha = (plane.T if turned else plane for plane in (inside, view.alpha))
        colour = view.colour.transpose(1, 0, 2) if turned else view.colour
        changes = mask[1:] != mask[:-1]
        for row in np.flatnonzero(changes.sum(axis=1) >= least):
            if not _MARGIN_PX < row < len(changes) - _MARGIN_PX - 1:
                continue
            columns = np.flatnonzero(changes[row])
            same = np.abs(colour[row - 1, columns] - colour[row + 2, columns]).max(axis=1) < _SAME_COLOUR
            full = np.abs(alpha[row - 1, columns] - alpha[row + 2, columns]) > 0.5
            for run in np.split(np.arange(columns.size), np.flatnonzero(np.diff(columns) > 3) + 1):
                share = float(same[run].mean())
                if run.size < least or full[run].mean() <= 0.9 or share <= 0.6:
                    continue
                if run.size * share > length * view.side:
                    length = run.size * share / view.side
                    worst = np.zeros_like(inside)
                    (worst.T if turned else worst)[row, columns[run]] = True
    return worst, length
