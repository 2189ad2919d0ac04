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

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.resize import area_average
from imgpipe.pixels.round_trip import Float
from imgpipe.pixels.strips import spans
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


def is_enlarged(source: Float, result: Float) -> bool:
    """Whether ``result`` is large enough beside ``source`` for :func:`fine_detail`."""
    return all(MIN_SCALE * a <= b for a, b in zip(source.shape, result.shape, strict=True))


def smooth_mask(spread: Mask) -> Mask:
    """1 where the :func:`spread_of` a source is at most :data:`SMOOTH_255`, else 0."""
    return np.asarray(spread <= SMOOTH_255).view(np.uint8)


def spread_of(source: Float) -> Mask:
    """Largest difference within 5x5 px of a luma plane (height, width) on 0..255, rounded."""
    window = np.ones((5, 5), np.uint8)
    return np.asarray(cv2.morphologyEx(cv2.convertScaleAbs(source), cv2.MORPH_GRADIENT, window), np.uint8)


def fine_detail(source: Float, spread: Mask, result: Float) -> FineDetail:
    """What ``result``, a luma (height, width) float32 on 0..255, has where its source is smooth.

    ``source``: its luma, which is smaller by :data:`MIN_SCALE` and more, and its :func:`spread_of`.
    """
    smooth = smooth_mask(spread)
    (height, width), scale = spread.shape, result.shape[0] / spread.shape[0]
    mixed = np.empty(spread.shape, np.float32)
    marks = [np.empty((0, 3), np.int64)]
    for rows in spans(0, height, BLOCK_PX):
        top, bottom = (round(row * scale) for row in (rows.start, rows.stop))
        first, last = max(0, top - _MARGIN), min(result.shape[0], bottom + _MARGIN)
        levels = np.asarray(cv2.convertScaleAbs(result[first:last]), np.uint8)
        wider = cv2.copyMakeBorder(levels, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
        steps = cv2.subtract(wider[:, 1:], wider[:, :-1], dtype=cv2.CV_16S)
        corners = cv2.absdiff(steps[1:], steps[:-1])[top - first :][: bottom - top]
        size = width, rows.stop - rows.start
        mixed[rows] = cv2.resize(corners.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        marks.append(_standing_out(levels, slice(top - first, bottom - first)))
        marks[-1][:, 0] += first
    grain, grain_boxes = _grain(mixed, smooth)
    found = np.concatenate(marks)
    place = np.minimum((found[:, :2] / scale).astype(int), np.array(spread.shape) - 1)
    around = spread[place[:, 0], place[:, 1]]
    specks, speck_boxes = _specks(found[around <= SMOOTH_255], cv2.countNonZero(smooth) * scale**2, scale)
    scratch, scratch_boxes = _scratch(found[around <= _CALM_255, :2], source, result.shape, scale)
    return FineDetail(grain, specks, scratch, (*grain_boxes, *speck_boxes, *scratch_boxes))


def _grain(mixed: Float, smooth: Mask) -> tuple[float | None, tuple[EdgeBox, ...]]:
    height, width = mixed.shape
    size = max(1, width // BLOCK_PX), max(1, height // BLOCK_PX)
    share = area_average(smooth, size)
    means = area_average(mixed * smooth, size) / np.maximum(share, 1e-6)
    means[share < _SMOOTH_SHARE] = -1.0
    row, column = np.unravel_index(int(np.argmax(means)), means.shape)
    if means[row, column] < 0:
        return None, ()
    sides = width / size[0], height / size[1]
    worst = float(means[row, column])
    at = int(column * sides[0]), int(row * sides[1])
    return worst, (EdgeBox(*at, round(sides[0]), round(sides[1]), "grain_255", worst),)


def _standing_out(levels: Mask, rows: slice) -> Places:
    """(y, x, by how much) of pixels that stand out from the median of their 3x3 px, within ``rows``."""
    calm = cv2.medianBlur(levels, 3)
    away = cv2.absdiff(levels, calm)
    around = cv2.morphologyEx(calm, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    least = cv2.max(cv2.add(around, around), np.full_like(around, _STROKE))
    stands = cv2.compare(away, least, cv2.CMP_GE)[rows]
    if not cv2.countNonZero(stands):
        return np.empty((0, 3), np.int64)
    x, y = cv2.findNonZero(stands).reshape(-1, 2).T.astype(np.int64)
    y += rows.start
    return np.stack([y, x, away[y, x].astype(np.int64)], axis=1)


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
    found: Places, source: Float, shape: tuple[int, ...], scale: float
) -> tuple[float, tuple[EdgeBox, ...]]:
    """Length of the longest straight chain of cells that a stroke of a pixel's width crosses, source px."""
    at = found // _CELL_PX
    cells = np.zeros([side // _CELL_PX + 1 for side in shape], np.int32)
    np.add.at(cells, tuple(at.T), 1)
    stroke = ((cells >= _CELL_FEWEST) & (cells <= _CELL_MOST)).astype(np.uint8)
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


def _is_of_source(places: Places, source: Float, scale: float) -> bool:
    """Whether most of the source's pixels there stand out as a stroke's do."""
    levels = cv2.convertScaleAbs(source)
    away = cv2.absdiff(levels, cv2.medianBlur(levels, 3))
    y, x = np.minimum((places / scale).astype(int), np.array(source.shape) - 1).T
    return float(np.mean(away[y, x] >= _STROKE)) > 0.5
