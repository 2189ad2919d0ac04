"""Extends values known at scattered pixels over the whole picture.

Pull-push (Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The Lumigraph"): weighted means are computed on a
pyramid of halved pictures until every gap is closed ("pull"); on the way back, each level is filled from the
coarser one where it has too little weight ("push"). Cost and memory are linear in the picture, and the
levels start at half its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.resize import cv2_resize
from imgpipe.pixels.strips import spans

Float = npt.NDArray[np.float32]

#: rows of the picture -> values (rows, width, channels) and weights (rows, width), 0..1.
Source = Callable[[slice], tuple[Float, Float]]

#: A level is used alone, without the coarser one, where at least this share of a pixel's area has weight.
_ENOUGH = 0.5

#: Rows of the source that are held at once; even, so that both rows of a pair are in one strip.
STRIP_ROWS = 256

_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """``values``: float32 (ceil(height / 2), ceil(width / 2), channels). ``empty``: no pixel had any weight;
    all values are then 0."""

    values: Float
    empty: bool

    def part(self, rows: slice, columns: slice) -> Float:
        """(rows, columns, channels): the values at every pixel of a part of the picture, bilinear."""
        top, left = (max(0, span.start // 2 - 1) for span in (rows, columns))
        around = self.values[top : rows.stop // 2 + 2, left : columns.stop // 2 + 2]
        doubled = _doubled(np.ascontiguousarray(around), rows.stop - 2 * top, columns.stop - 2 * left)
        return doubled[rows.start - 2 * top :, columns.start - 2 * left :]


def pull_push(source: Source, height: int, width: int) -> Field:
    """The weighted values of ``source`` extended over (height, width)."""
    levels = [_first_level(source, height, width)]
    while max(levels[-1].shape[:2]) > 1:
        levels.append(_halved(levels[-1]))
    empty = not bool(levels[-1][..., -1].max() > 0)
    values = _own_values(levels.pop())
    while levels:
        finer = levels.pop()
        pushed = _doubled(values, *finer.shape[:2])
        trusted = np.minimum(finer[..., -1:] / np.float32(_ENOUGH), np.float32(1))
        values = _own_values(finer)
        values -= pushed
        values *= trusted
        values += pushed
    return Field(values, empty)


def _first_level(source: Source, height: int, width: int) -> Float:
    strips = []
    for rows in spans(0, height, STRIP_ROWS):
        values, weight = source(rows)
        strips.append(_halved(np.dstack([values * weight[..., None], weight])))
    return np.concatenate(strips)


def _halved(level: Float) -> Float:
    """Means of 2x2; what lies outside an odd side has no weight."""
    rows, columns = level.shape[:2]
    if rows % 2 or columns % 2:
        level = np.pad(level, ((0, rows % 2), (0, columns % 2), (0, 0)))
    size = (level.shape[1] // 2, level.shape[0] // 2)
    return cv2_resize(np.ascontiguousarray(level, np.float32), size, cv2.INTER_AREA)


def _doubled(level: Float, height: int, width: int) -> Float:
    """Twice the size, bilinear, without what lies outside ``height`` x ``width``."""
    size = (2 * level.shape[1], 2 * level.shape[0])
    return cv2_resize(level, size, cv2.INTER_LINEAR)[:height, :width]


def _own_values(level: Float) -> Float:
    return np.asarray(level[..., :-1] / np.maximum(level[..., -1:], _TINY), np.float32)
