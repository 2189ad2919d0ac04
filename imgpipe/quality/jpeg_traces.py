"""JPEG traces: whether the finest detail of an enlargement lies on an 8 px grid.

A JPEG of low quality leaves next to no fine detail inside its blocks, so what there is lies across their
borders. Third differences of the luma see that, and no slope or bend of the picture. Where the source is
smooth, those across the grid's lines are divided by the median of the seven other phases. The smaller of both
directions counts: a codec's grid has both, a rounded ramp only one. Where the first is clean, the second is
not looked at.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Bytes
from imgpipe.pixels.strips import bands

GRID_PX = 8
#: Third differences are cut off here, so that nothing outweighs the traces; they lie at this phase.
_MOST, _PHASE = 12, 6
#: Difference that is too small to be seen (1/255), added to both sides.
_FLOOR = 0.2
_MIN_PX = 2**15
#: A ratio that no limit asks for less of.
_CLEAN = 1.2
_THIRD = np.array([[1, -3, 3, -1]], np.float32)
#: Rows of a band, a multiple of the grid, and how many bands, evenly spread: the grid is everywhere.
BAND_ROWS, _BANDS = 64, 8


def jpeg_traces(result: Bytes, smooth: Bytes) -> float | None:
    """Third differences on the grid over those beside it; about 1 in clean pictures.

    ``result``: luma (height, width) uint8; ``smooth``: 255 where the source is, at its own size.
    ``None`` where less than :data:`_MIN_PX` of the result are looked at, and below 8 px; nor by 8 times
    the source's size, where the grid is that of the source's own pixels.
    """
    if min(result.shape) < GRID_PX or result.shape[1] == GRID_PX * smooth.shape[1]:
        return None
    across = _ratio(result, smooth)
    if across is None or across < _CLEAN:
        return across
    down = _ratio(result, smooth, turned=True)
    return None if down is None else min(across, down)


def _ratio(result: Bytes, smooth: Bytes, *, turned: bool = False) -> float | None:
    """Of differences along the rows, or ``turned`` along the columns."""
    height, width = result.shape
    sums, counts = np.zeros(GRID_PX), np.zeros(GRID_PX)
    for rows in bands(height, BAND_ROWS, _BANDS):
        first, last = (row * smooth.shape[0] // height for row in (rows.start, rows.stop))
        levels = result[rows]
        size = width, len(levels)
        where = cv2.resize(smooth[first : last + 1], size, interpolation=cv2.INTER_NEAREST)
        both = (cv2.transpose(levels), cv2.transpose(where)) if turned else (levels, where)
        levels, where = (np.asarray(plane, np.uint8) for plane in both)
        seen = where[:, 3:]
        sums += _by_phase(_third_differences(levels) & seen)
        counts += _by_phase(seen) / 255
    if counts.min() * GRID_PX < _MIN_PX:
        return None
    means = sums / counts + _FLOOR
    return float(means[_PHASE] / np.median(np.delete(means, _PHASE)))


def _by_phase(plane: Bytes) -> npt.NDArray[np.float64]:
    """Sums over the columns of the same place in the grid."""
    columns = cv2.reduce(plane, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    whole = columns.size // GRID_PX * GRID_PX
    return np.asarray(columns[:whole].reshape(-1, GRID_PX).sum(axis=0), np.float64)


def _third_differences(levels: Bytes) -> Bytes:
    """abs(a - 3b + 3c - d) along the rows, at most :data:`_MOST`, 3 columns fewer."""
    third = cv2.convertScaleAbs(cv2.filter2D(levels, cv2.CV_16S, _THIRD, anchor=(0, 0)))[:, :-3]
    return np.minimum(third, np.uint8(_MOST), out=third)
