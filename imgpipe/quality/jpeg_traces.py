"""JPEG traces: whether the finest detail of an enlargement lies on an 8 px grid.

A JPEG of low quality leaves next to no fine detail inside its blocks, so what there is lies across their
borders. Third differences of the luma see that, and no slope or bend of the picture. Where the source is
smooth, those across the grid's lines are divided by the median of the seven other phases. The smaller of both
directions counts: a codec's grid has both, a rounded ramp only one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float

GRID_PX = 8
#: Third differences are cut off here, so that nothing outweighs the traces; they lie at this phase.
_MOST, _PHASE = 12, 6
#: Difference that is too small to be seen (1/255), added to both sides.
_FLOOR = 0.2
_MIN_PX = 2**15
#: Rows of a band, a multiple of the grid, and how many bands, evenly spread: the grid is everywhere.
BAND_ROWS, _BANDS = 64, 8

Mask = npt.NDArray[np.uint8]


def jpeg_traces(result: Float, smooth: Mask) -> float | None:
    """Third differences on the grid over those beside it; about 1 in clean pictures.

    ``result``: luma (height, width) float32 on 0..255; ``smooth``: 1 where the source is, at its own size.
    ``None`` where less than :data:`_MIN_PX` of the result are looked at.
    """
    height, width = result.shape
    sums, counts = np.zeros((2, GRID_PX)), np.zeros((2, GRID_PX))
    bands = height // BAND_ROWS
    for band in np.unique(np.linspace(0, max(0, bands - 1), min(bands, _BANDS)).astype(int)):
        top = BAND_ROWS * int(band)
        first, last = (row * smooth.shape[0] // height for row in (top, top + BAND_ROWS))
        size = width, BAND_ROWS
        where = cv2.resize(smooth[first : last + 1], size, interpolation=cv2.INTER_NEAREST)
        levels = cv2.convertScaleAbs(result[top : top + BAND_ROWS])
        for axis, (plane, mask) in enumerate(((levels, where), (levels.T, where.T))):
            third = _third_differences(np.ascontiguousarray(plane))
            seen = np.ascontiguousarray(mask[:, 3:])
            sums[axis] += _by_phase(third * seen)
            counts[axis] += _by_phase(seen)
    if counts.min() * GRID_PX < _MIN_PX:
        return None
    means = sums / counts + _FLOOR
    return float((means[:, _PHASE] / np.median(np.delete(means, _PHASE, axis=1), axis=1)).min())


def _by_phase(plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Sums over the columns of the same place in the grid."""
    columns = cv2.reduce(plane, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)[0]
    whole = columns.size // GRID_PX * GRID_PX
    return np.asarray(columns[:whole].reshape(-1, GRID_PX).sum(axis=0), np.float64)


def _third_differences(levels: npt.NDArray[np.uint8]) -> Mask:
    """abs(a - 3b + 3c - d) along the rows, at most :data:`_MOST`, 3 columns fewer."""
    steps = cv2.subtract(levels[:, 1:], levels[:, :-1], dtype=cv2.CV_16S)
    bends = cv2.subtract(steps[:, 1:], steps[:, :-1])
    third = cv2.convertScaleAbs(cv2.subtract(bends[:, 1:], bends[:, :-1]))
    return np.asarray(cv2.min(third, np.full_like(third, _MOST)), np.uint8)
