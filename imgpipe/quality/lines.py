"""Long thin lines that an upscaler drew: seams between its tiles.

A line detector on the picture finds the drawing's own lines. What an upscaler added shows in the
residual  r = luma(result) - luma(bilinear enlargement of the source)  where the source has no edges, and
a seam lies exactly on a cut of the recorded tile grid, along its whole length. Two tests per cut, each
against the same test at control rows off the grid, so that texture, gradients and rounding patterns, which
occur everywhere, cancel:

coherence
    p(y) = r(y) - mean(r(y - 6), r(y - 4), r(y + 4), r(y + 6)) is a line's or a step's profile without
    the slow part of the residual. The share of visible pixels of one sign minus that of the other,
    abs(sum sign p) / n, is near 1 along a seam and near 0 in texture, however faint the seam. It is
    taken per quarter of the cut, and the second lowest quarter counts.
step
    the difference of the residual's means over 12 px on each side, averaged along the cut, in 1/255.

Score = value at the cut - largest value at the controls, at least 0. Where a gradient of the source turns, a
Lanczos enlargement differs from the bilinear one along the whole fold: what is found is searched for again
against a Lanczos enlargement, farther off edges, and the lower score counts. Without a tile grid every row
and column is tried for coherence over its full length (blind): weaker, with a stricter scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float, Shown
from imgpipe.pixels.strips import bands
from imgpipe.quality.line_residual import Axis, Bool, residual_rows, source_edges
from imgpipe.quality.report import LineBox, LinesReport
from imgpipe.records import TileGrid

Values = npt.NDArray[np.float64]

STEP_SIDE_PX = 12
#: A profile value below this many levels has no sign: rounding to 8 bits makes up to 0.5.
DEAD_BAND = 0.6
#: Controls on either side; moved to the cut's own phase between source pixels, see _control_offsets.
CONTROL_OFFSETS_PX = (16, 24, 32, 40, 48, 56)
_REACH = 64 + STEP_SIDE_PX
#: A cut is judged where at least this many of its pixels, and this share of them, can be seen.
_MIN_VISIBLE_PX = 64
_MIN_VISIBLE_SHARE = 0.1
_MIN_CONTROLS = 3
_MAX_BOXES = 50
#: Added to the threshold of a blind search, which tries far more places than a search on a known grid.
BLIND_HANDICAP = 0.4
#: Rows of a band, at most 127, which a byte holds, and how many bands a blind search looks at first.
_BLIND_STRIP_ROWS, _BLIND_BANDS = 64, 6
#: p = r - the mean of those 4 and 6 px before and behind, as a filter; its reach.
_PROFILE = np.array([[-1, 0, -1, 0, 0, 0, 4, 0, 0, 0, -1, 0, -1]], np.float32) / np.float32(4)
_PROFILE_PX = 6
_BLIND_BORDER_PX = 58


@dataclass(frozen=True, slots=True)
class _Places:
    """Samples at the cut (index 0) and at the controls: arrays (places, [2 rows,] width).

    ``signs`` hold two rows per place, just above and just below it: a step shows with opposite signs.
    ``seen_near``, ``seen_wide``: columns without a source edge in reach of the profile and of the step.
    """

    signs: npt.NDArray[np.int8]
    steps: Float
    seen_near: Bool
    seen_wide: Bool

    def between(self, left: int, right: int) -> _Places:
        piece = slice(left, right)
        return _Places(
            self.signs[..., piece], self.steps[:, piece], self.seen_near[:, piece], self.seen_wide[:, piece]
        )


def find_lines(
    reference: Float,
    result: Shown,
    tile_grid: TileGrid | None,
    *,
    coherence_max: float = 0.35,
    step_max: float = 0.4,
) -> LinesReport:
    """Seams in ``result`` along ``tile_grid`` (cuts in source px), or anywhere where there is no grid.

    ``reference`` (height, width): luma, float32 on 0..255; ``result``: each at its own size; the result must
    not be smaller. At most 50 boxes are returned.
    """
    if result.shape[0] < reference.shape[0] or result.shape[1] < reference.shape[1]:
        return LinesReport(note="the result is smaller than its source")
    if min(result.shape) < 2 * _REACH:
        return LinesReport(note=f"the result is smaller than {2 * _REACH} px")
    axis = Axis(reference, result, source_edges(reference))
    thresholds = coherence_max, step_max
    if tile_grid is not None and (tile_grid.xs or tile_grid.ys):
        search: Callable[[Axis], Iterator[LineBox]] = partial(_along, tile_grid)
        mode, note = "grid", ""
    else:
        search, mode = _blind, "blind"
        note = "no tile grid was recorded" if tile_grid is None else "the result was not cut into tiles"
    found = [*search(axis)]
    if any(_is_above(box, thresholds) for box in found):
        again = {box.place: box for box in search(replace(axis, lanczos=True))}
        # A piece of a cut of which too little is left to be seen stays as it was found.
        kept = [box for box in found if mode == "grid" or box.place in again]
        found = [box.lower(again.get(box.place, box)) for box in kept]
    return _report(found, mode, note, thresholds)


def _is_above(box: LineBox, thresholds: tuple[float, float]) -> bool:
    return box.coherence > thresholds[0] or box.step > thresholds[1]


def _along(tile_grid: TileGrid, axis: Axis) -> Iterator[LineBox]:
    yield from _on_grid(axis, tile_grid.ys, tile_grid.xs)
    for box in _on_grid(axis.transposed(), tile_grid.xs, tile_grid.ys):
        yield _mirrored(box)


def _report(found: list[LineBox], mode: str, note: str, thresholds: tuple[float, float]) -> LinesReport:
    above = [box for box in found if _is_above(box, thresholds)]
    above = [box for box in above if not any(box.lies_in(other) for other in above)]
    above.sort(key=lambda box: -max(box.coherence / thresholds[0], box.step / thresholds[1]))
    return LinesReport(
        score=max((box.coherence for box in found), default=0.0),
        step=max((box.step for box in found), default=0.0),
        boxes=tuple(above[:_MAX_BOXES]),
        mode=mode,
        note=note,
    )


def _profile(residual: Float) -> Float:
    """p for rows 6..n-6 of a residual strip of n rows."""
    n = residual.shape[0]
    around: Float = residual[0 : n - 12] + residual[2 : n - 10]
    around += residual[10 : n - 2]
    around += residual[12:n]
    around *= np.float32(0.25)
    return np.subtract(residual[6 : n - 6], around, out=around)


def _signs(profile: Float) -> npt.NDArray[np.int8]:
    return (profile > DEAD_BAND).astype(np.int8) - (profile < -DEAD_BAND).astype(np.int8)


def _on_grid(axis: Axis, cuts: Sequence[int], crossings: Sequence[int]) -> Iterator[LineBox]:
    """One box per judged piece: every cut whole, and between the crossing cuts."""
    height, width = axis.shape
    rows, columns = axis.source.shape
    borders = [0, *(round(c * width / columns) for c in crossings), width]
    for cut in cuts:
        y = round(cut * height / rows)
        if not _REACH <= y <= height - _REACH:
            continue
        residual, visible = residual_rows(axis, y - _REACH, y + _REACH)
        places = _tests_at(residual, visible, _control_offsets(height / rows))
        pieces = list(pairwise(borders))
        spans = [(0, width), *(pieces if len(pieces) > 1 else [])]
        for left, right in spans:
            box = _judge(places.between(left, right))
            if box is not None:
                yield LineBox(left, y - 1, right - left, 2, *box)


def _control_offsets(factor: float) -> list[int]:
    """Control places for an enlargement by ``factor``, px of the result.

    The residual against a bilinear enlargement repeats with the source's pixels, so a control must lie a
    whole number of source pixels from the cut where that is possible.
    """
    whole = round(factor)
    period = whole if 1 <= whole <= CONTROL_OFFSETS_PX[0] and abs(factor - whole) < 0.01 else 1
    moved = sorted({round(offset / period) * period for offset in CONTROL_OFFSETS_PX})
    return [-offset for offset in reversed(moved)] + moved


def _tests_at(residual: Float, visible: Bool, controls: Sequence[int]) -> _Places:
    """Samples at the cut (place 0) and at the controls (the other places)."""
    middle = residual.shape[0] // 2
    signs, steps, seen_near, seen_wide = [], [], [], []
    for y in (middle + offset for offset in (0, *controls)):
        signs.append(_signs(_profile(residual[y - 7 : y + 7])))
        steps.append(
            residual[y : y + STEP_SIDE_PX].mean(axis=0) - residual[y - STEP_SIDE_PX : y].mean(axis=0)
        )
        seen_near.append(visible[y - 7 : y + 7].all(axis=0))
        seen_wide.append(visible[y - STEP_SIDE_PX : y + STEP_SIDE_PX].all(axis=0))
    return _Places(np.stack(signs), np.stack(steps), np.stack(seen_near), np.stack(seen_wide))


def _judge(places: _Places) -> tuple[float, float] | None:
    """(coherence excess, step excess) of place 0 over the others; ``None`` where too little is visible."""
    coherence = _excess([_coherence(*place) for place in zip(places.signs, places.seen_near, strict=True)])
    step = _excess([_mean_step(*place) for place in zip(places.steps, places.seen_wide, strict=True)])
    if coherence is None and step is None:
        return None
    return coherence or 0.0, step or 0.0


def _excess(values: Sequence[float | None]) -> float | None:
    """How far the first value lies above the largest of the others."""
    controls = [value for value in values[1:] if value is not None]
    if values[0] is None or len(controls) < _MIN_CONTROLS:
        return None
    return max(0.0, values[0] - max(controls))


def _coherence(signs: npt.NDArray[np.int8], seen: Bool) -> float | None:
    """Coherence of the better of two rows (2, width) that also holds along the cut.

    The visible pixels are split into quarters; the second lowest quarter counts, in the whole's sign. A
    seam runs along the whole cut, an accident of the drawing fills a part of it.
    """
    if not _enough(seen):
        return None
    best = 0.0
    for row in signs[:, seen]:
        direction = np.sign(int(row.sum(dtype=np.int64)))
        quarters = sorted(direction * float(part.mean()) for part in np.array_split(row, 4))
        best = max(best, float(quarters[1]))
    return best


def _mean_step(steps: Float, seen: Bool) -> float | None:
    return abs(float(steps[seen].mean(dtype=np.float64))) if _enough(seen) else None


def _enough(seen: Bool) -> bool:
    return int(seen.sum()) >= max(_MIN_VISIBLE_PX, _MIN_VISIBLE_SHARE * seen.size)


def _blind(axis: Axis) -> Iterator[LineBox]:
    """Every row and every column whose coherence over its full length stands out of its neighbourhood."""
    height, width = axis.shape
    rows, columns = (_excess_of_lines(_coherences(turned)) for turned in (axis.transposed(), axis))
    for y in np.flatnonzero(rows > 0):
        yield LineBox(0, int(y), width, 1, float(rows[y]), 0.0)
    for x in np.flatnonzero(columns > 0):
        yield LineBox(int(x), 0, 1, height, float(columns[x]), 0.0)


def _excess_of_lines(coherence: Values) -> Values:
    excess = coherence - _neighbourhood_max(coherence) - BLIND_HANDICAP
    # At the picture's border the enlargements treat missing neighbours differently, in whole rows.
    excess[:_BLIND_BORDER_PX] = excess[-_BLIND_BORDER_PX:] = 0.0
    return excess


def _coherences(axis: Axis) -> Values:
    """abs(sum sign p) / n of every column, over its visible pixels; 0 where they are few.

    What runs along a whole column shows in a part of it: the first search looks at bands of rows, that
    against Lanczos, of what was found, at all.
    """
    height, width = axis.shape
    signs, seen, length = np.zeros(width, np.int64), np.zeros(width, np.int64), 0
    for rows in bands(height, _BLIND_STRIP_ROWS, height if axis.lanczos else _BLIND_BANDS):
        residual, visible = residual_rows(axis, rows.start, rows.stop)
        profile = cv2.filter2D(residual, cv2.CV_32F, _PROFILE)
        above, below = profile > np.float32(DEAD_BAND), profile < np.float32(-DEAD_BAND)
        above &= visible
        below &= visible
        signs += np.subtract(above.view(np.int8), below.view(np.int8)).sum(axis=0, dtype=np.int8)
        seen += visible.sum(axis=0, dtype=np.int8)
        length += len(residual)
    judged = seen >= max(_MIN_VISIBLE_PX, _MIN_VISIBLE_SHARE * length)
    coherence = np.where(judged, np.abs(signs) / np.maximum(seen, 1), 0.0)
    # A profile reaches beyond the picture's border.
    coherence[:_PROFILE_PX] = coherence[-_PROFILE_PX:] = 0.0
    return coherence


def _neighbourhood_max(values: Values) -> Values:
    """Largest value 10..58 rows away on either side; a line's own flanks lie nearer."""
    largest = np.zeros_like(values)
    for offset in range(10, 59):
        largest[offset:] = np.maximum(largest[offset:], values[:-offset])
        largest[:-offset] = np.maximum(largest[:-offset], values[offset:])
    return largest


def _mirrored(box: LineBox) -> LineBox:
    return LineBox(box.y, box.x, box.height, box.width, box.coherence, box.step)
