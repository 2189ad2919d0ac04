"""Blocking: whether steps sit on an 8 px grid, as after strong JPEG or nearest-neighbour enlargement.

For every grid line the mean absolute step across it is set against those of its neighbours; the
median over the grid lines is the ratio. A drawing's own edges lie on few of the lines and leave the
median alone, a codec's blocks lie on all of them.

A gradient of a little more than a level per pixel, rounded, has a step of two levels among steps of one, and
in enlargements such steps may lie eight pixels apart. So where the ratio is high it is taken once more of how
far each step differs from the nearer of its two neighbours: a block's does, a gradient's by a level at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Bytes
from imgpipe.pixels.strips import bands

Values = npt.NDArray[np.float64]

GRID_PX = 8
#: Step that is too small to be seen (1/255), added to both sides so that flat areas read 1.
_FLOOR = 0.1
#: Rounding a slow gradient to 8 bits makes regular steps in whole rows: steps up to this many levels count
#: as none, larger ones by their excess.
_ROUNDING_255: Any = 1
#: From this ratio on gradients are told from blocks, and a source's blocks from the result's.
_SUSPECT = 1.5
_MIN_LINES = 7
#: Rows of a band and how many bands are looked at, evenly spread: the grid is everywhere.
_BAND_ROWS, _BANDS = 64, 16


def step_profile(plane: Bytes, *, turned: bool = False, lone: bool = False) -> Values:
    """Mean step beyond rounding between columns (width - 1), over bands of rows.

    ``turned``: between rows (height - 1), over bands of columns. ``lone``: what steps differ by from the
    nearer neighbour.
    """
    height, width = plane.shape[::-1] if turned else plane.shape
    sums, count = np.zeros(width - 1), 0
    for rows in bands(height, _BAND_ROWS, _BANDS):
        # A few columns of a picture lie far apart in memory: they are read once.
        part = np.ascontiguousarray(plane[:, rows]) if turned else plane[rows]
        if lone:
            part = part.T if turned else part
            change = np.abs(np.diff(part.astype(np.int16), n=2, axis=1))
            alone = np.minimum(change[:, 1:], change[:, :-1]) - _ROUNDING_255
            sums[1:-1] += np.maximum(alone, 0).sum(axis=0)
        else:
            pair = (part[1:], part[:-1]) if turned else (part[:, 1:], part[:, :-1])
            steps = cv2.subtract(cv2.absdiff(*pair), _ROUNDING_255)  # Not below 0.
            sums += cv2.reduce(steps, int(turned), cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        count += rows.stop - rows.start
    return sums / count


def grid_ratio_of(plane: Bytes, grids: Sequence[int] = (GRID_PX,)) -> float | None:
    """The largest of both directions' median ratios and all ``grids``; ``None`` below 8 cells each way."""
    grids = [grid for grid in grids if min(plane.shape) >= grid * (_MIN_LINES + 1)]
    profiles = [step_profile(plane, turned=turned) for turned in (False, True)] if grids else []
    ratios = {grid: max(_median_ratio(one, grid) for one in profiles) for grid in grids}
    if ratios.get(GRID_PX, 0.0) >= _SUSPECT:  # Steps 2 px apart make what lies between them lone, too.
        lone = (step_profile(plane, turned=turned, lone=True) for turned in (False, True))
        ratios[GRID_PX] = min(ratios[GRID_PX], max(_median_ratio(one, GRID_PX) for one in lone))
    return max(ratios.values(), default=None)


def grid_ratio(reference: Bytes, result: Bytes) -> float | None:
    """Blocking of ``result`` beyond the reference's own: ratio(result) / max(1, ratio(reference)).

    Luma planes (height, width) uint8, each at its own full size. About 1 for clean pictures. The
    reference's is taken of its own 8 px grid and, where it was enlarged by 2 or 4, of that which the result's
    lies on: there pixel art and screentone have their steps; it is taken where the result's is not clean.
    ``None`` where the result is below 64 px.
    """
    after = grid_ratio_of(result)
    if after is None or after < _SUSPECT:
        return after
    enlarged = result.shape[1] / reference.shape[1]
    grids = [GRID_PX, *(GRID_PX // factor for factor in (2, 4) if enlarged == factor)]
    return after / max(1.0, grid_ratio_of(reference, grids) or 1.0)


def _median_ratio(profile: Values, grid_px: int) -> float:
    # Step i lies between pixels i and i + 1, so the steps of a grid of 8 px are 7, 15, 23, ...
    half = grid_px // 2
    at = np.arange(grid_px - 1, profile.size - half, grid_px)
    beside = np.stack([profile[at + k] for k in range(-half, half + 1) if k]).mean(axis=0)
    return float(np.median((profile[at] + _FLOOR) / (beside + _FLOOR)))
