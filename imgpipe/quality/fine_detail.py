"""Damage finer than a source pixel, which the round trip averages away, seen at the result's own size.

Where the source is smooth an enlargement has nothing to draw, whatever made it. What it has there:

grain
    Mean of the mixed second difference of 2x2 px, abs(a - b - c + d): 4 times the amplitude of a checkerboard
    of 1 px and 1.6 times the sigma of noise, but near 0 for edges, which are straight on this scale; in the
    worst block of 16x16 source px.
specks
    Single pixels that differ from the median of their 3x3 px by 16 levels and more, and by twice what the
    medians around them differ.
scratch
    Pixels that differ likewise by 10 levels, along a straight line of a pixel's width. Not where the source's
    own pixels do: that is its line, drawn sharper.

Only for enlargements by :data:`MIN_SCALE` and more: below, the round trip keeps what there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.quality.report import EdgeBox

MIN_SCALE = 1.9
#: Largest difference within 5x5 px where a source is smooth, and where it is calm enough for strokes, 1/255.
SMOOTH_255, _CALM_255 = 16, 64
#: Edge of the blocks of the grain, source px, and the share of one that must be smooth.
BLOCK_PX, _SMOOTH_SHARE = 16, 0.2
_SPECK, _STROKE = 16, 10
#: A cell that a stroke of one pixel's width crosses holds so many of its pixels.
_CELL_PX, _CELL_FEWEST, _CELL_MOST = 8, 4, 16
#: Four fifths of a scratch's pixels lie so near to one line; chains of cells that are tried.
_STRAIGHT_PX, _CHAINS = 1.0, 20
_MARGIN = 2

Mask = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FineDetail:
    """``grain_255`` (1/255; ``None`` where the source is nowhere smooth), ``specks_ppm`` (of a million smooth
    px), ``scratch_px`` (source px). ``boxes``: where they are, px of the source; their kinds are these names.
    """

    grain_255: float | None
    specks_ppm: float
    scratch_px: float
    boxes: tuple[EdgeBox, ...] = field(default=())


def is_enlarged(source: tuple[int, int], result: tuple[int, int]) -> bool:
    """Whether a (height, width) is large enough beside the source's for :func:`fine_detail`."""
    return all(MIN_SCALE * a <= b for a, b in zip(source, result, strict=True))


def smooth_mask(spread: Mask) -> Mask:
    """255 where the :func:`spread_of` a source is at most :data:`SMOOTH_255`, else 0."""
    return np.asarray((spread <= SMOOTH_255) * np.uint8(255))


def spread_of(source: Mask) -> Mask:
    """Largest difference within 5x5 px of a luma plane (height, width)."""
    return np.asarray(cv2.morphologyEx(source, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)), np.uint8)


def fine_detail(source: Mask, spread: Mask, result: Mask) -> FineDetail:
    """What ``result``, a luma (height, width), has where its source is smooth.

    ``source``: its luma, which is smaller by :data:`MIN_SCALE` and more, and its :func:`spread_of`.
    """
    smooth = smooth_mask(spread)
    scale = result.shape[0] / spread.shape[0]
    rows, columns = (_block_edges(side) for side in spread.shape)
    ends, starts = (np.rint(edges * scale).astype(int) for edges in (rows, columns[:-1]))
    grain, area = np.empty((2, rows.size - 1, starts.size))
    marks = [np.empty((0, 3), np.int64)]
    for block, (top, bottom) in enumerate(pairwise(ends)):
        first, last = max(0, top - _MARGIN), min(result.shape[0], bottom + _MARGIN)
        strip, own = result[first:last], slice(top - first, bottom - first)
        where = smooth[rows[block] : rows[block + 1]]
        grain[block] = np.add.reduceat(_mixed(result[top : bottom + 1], bottom - top, where), starts)
        area[block] = np.add.reduceat(_column_sums(where), columns[:-1]) / 255
        marks.append(_standing_out(strip, own, spread, first, scale))
    share = area / np.outer(np.diff(rows), np.diff(columns))
    means = np.where(share < _SMOOTH_SHARE, -1.0, grain / np.maximum(area * scale**2, 1.0))
    worst, grain_boxes = _worst_block(means, rows, columns)
    found = np.concatenate(marks)
    around = spread[_in_source(found[:, :2], spread, scale)]
    specks, speck_boxes = _specks(found[around <= SMOOTH_255], cv2.countNonZero(smooth) * scale**2, scale)
    scratch, scratch_boxes = _scratch(found[:, :2], source, result.shape, scale)
    return FineDetail(worst, specks, scratch, (*grain_boxes, *speck_boxes, *scratch_boxes))


def _block_edges(side: int) -> Places:
    """Of blocks of :data:`BLOCK_PX` and what remains of ``side`` spread over them."""
    return np.linspace(0, side, max(1, side // BLOCK_PX) + 1).astype(np.int64)


def _in_source(places: Places, source: Mask, scale: float) -> tuple[Places, Places]:
    """(y, x) of the source's pixels where (y, x) of the result are."""
    y, x = np.minimum((places / scale).astype(np.int64), np.array(source.shape) - 1).T
    return y, x


def _mixed(levels: Mask, rows: int, smooth: Mask) -> Places:
    """The mixed difference, at most 255, summed down the columns, where the source is smooth.

    ``levels``: ``rows`` rows, and the one below them where there is one.
    """
    left, right = levels[:, :-1], levels[:, 1:]
    down, up = cv2.subtract(left, right), cv2.subtract(right, left)  # Cut off at 0: of one sign each.
    mixed = cv2.absdiff(cv2.add(down[:-1], up[1:]), cv2.add(up[:-1], down[1:]))
    wide = cv2.resize(smooth, (levels.shape[1], len(smooth)), interpolation=cv2.INTER_NEAREST)
    seen = np.take(wide, np.arange(len(mixed)) * len(wide) // rows, axis=0)[:, :-1]
    return _column_sums(np.asarray(cv2.bitwise_and(mixed, seen), np.uint8))


def _column_sums(plane: Mask) -> Places:
    return np.asarray(cv2.reduce(plane, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0], np.int64)


def _worst_block(
    means: npt.NDArray[np.float64], rows: Places, columns: Places
) -> tuple[float | None, tuple[EdgeBox, ...]]:
    row, column = np.unravel_index(int(np.argmax(means)), means.shape)
    worst = float(means[row, column])
    if worst < 0:
        return None, ()
    x, y = int(columns[column]), int(rows[row])
    size = int(columns[column + 1]) - x, int(rows[row + 1]) - y
    return worst, (EdgeBox(x, y, *size, "grain_255", worst),)


def _standing_out(strip: Mask, own: slice, spread: Mask, first: int, scale: float) -> Places:
    """(y, x, by how much) of pixels of rows ``own`` that stand out from the median of their 3x3 px, where
    the source is calm. The strip's first row is the result's row ``first``."""
    calm = cv2.medianBlur(strip, 3)
    away = cv2.absdiff(strip, calm)
    y, x = np.divmod(np.flatnonzero(away[own] >= _STROKE), strip.shape[1])
    y += own.start
    quiet = spread[_in_source(np.stack([y + first, x], axis=1), spread, scale)] <= _CALM_255
    y, x = y[quiet], x[quiet]
    near = np.arange(-1, 2)
    down, across = (
        np.clip(at[:, None] + near, 0, side - 1) for at, side in zip((y, x), strip.shape, strict=True)
    )
    window = calm[down[:, :, None], across[:, None, :]].reshape(y.size, 9)
    around = window.max(axis=1, initial=0).astype(np.int64) - window.min(axis=1, initial=255)
    amount = away[y, x].astype(np.int64)
    found: Places = np.stack([y + first, x, amount], axis=1)[amount >= 2 * around]
    return found


def _specks(found: Places, area: float, scale: float) -> tuple[float, tuple[EdgeBox, ...]]:
    """Marks that are alone in their 4 px cell, of a million pixels; a single one counts as none."""
    cells, counts = np.unique(found[:, :2] // 4, axis=0, return_counts=True)
    alone = {tuple(cell) for cell in cells[counts == 1]}
    single = [mark for mark in found if mark[2] >= _SPECK and (mark[0] // 4, mark[1] // 4) in alone]
    if len(single) < 2:
        return 0.0, ()
    value = 1e6 * len(single) / area
    places = [(int(x / scale), int(y / scale)) for y, x, _ in single[:20]]
    return value, tuple(EdgeBox(x, y, 1, 1, "specks_ppm", value) for x, y in places)


def _scratch(
    found: Places, source: Mask, shape: tuple[int, ...], scale: float
) -> tuple[float, tuple[EdgeBox, ...]]:
    """Length of the longest straight chain of cells that a stroke of a pixel's width crosses, source px."""
    at = found // _CELL_PX
    rows, columns = (side // _CELL_PX + 1 for side in shape)
    cells = np.bincount(at[:, 0] * columns + at[:, 1], minlength=rows * columns)
    stroke = ((cells >= _CELL_FEWEST) & (cells <= _CELL_MOST)).astype(np.uint8).reshape(rows, columns)
    if not stroke.any():
        return 0.0, ()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(stroke, connectivity=8)
    owner = labels[at[:, 0], at[:, 1]]
    lengths = stats[:, cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1].max(axis=1)
    for label in 1 + np.argsort(-lengths[1:], kind="stable")[:_CHAINS]:
        chain = found[owner == label]
        if lengths[label] > 2 and _is_straight(chain) and not _is_of_source(chain, source, scale):
            x, y, width, height = (int(side * _CELL_PX / scale) for side in stats[label, :4])
            value = float(lengths[label] * _CELL_PX / scale)
            return value, (EdgeBox(x, y, width, height, "scratch_px", value),)
    return 0.0, ()


def _is_straight(places: Places) -> bool:
    dy, dx, y, x = (
        float(one[0]) for one in cv2.fitLine(places.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01)
    )
    away = np.abs((places[:, 0] - y) * dx - (places[:, 1] - x) * dy)
    return float(np.quantile(away, 0.8)) <= _STRAIGHT_PX


def _is_of_source(places: Places, source: Mask, scale: float) -> bool:
    """Whether most of the source's pixels there stand out as a stroke's do."""
    away = cv2.absdiff(source, cv2.medianBlur(source, 3))
    return float(np.mean(away[_in_source(places, source, scale)] >= _STROKE)) > 0.5
