"""Blocking: whether steps sit on an 8 px grid, as after strong JPEG or nearest-neighbour enlargement.

For every grid line the mean absolute step across it is set against those of its neighbours; the
median over the grid lines is the ratio. A drawing's own edges lie on few of the lines and leave the
median alone, a codec's blocks lie on all of them.

A gradient of a little more than a level per pixel, rounded, has a step of two levels among steps of one, and
in enlargements such steps may lie eight pixels apart. So where the ratio is high it is taken once more of how
far each step differs from the nearer of its two neighbours: a block's does, a gradient's by a level at most.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float
from imgpipe.pixels.strips import spans

GRID_PX = 8
#: Step that is too small to be seen (1/255), added to both sides so that flat areas read 1.
_FLOOR = 0.1
#: Rounding a slow gradient to 8 bits makes regular steps in whole rows: steps up to this many levels count
#: as none, larger ones by their excess.
_ROUNDING_255 = 1.0
#: From this ratio on gradients are told from blocks.
_SUSPECT = 1.5
_MIN_LINES = 7
_STRIP_ROWS = 16


def step_profiles(plane: Float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean step beyond rounding between columns (width - 1) and between rows (height - 1), in strips.

    Steps below the rounding are made as large as that, which is then taken from the means.
    """
    height, width = plane.shape
    columns = np.zeros(width - 1)
    rows = np.zeros(height - 1)
    steps = np.empty((_STRIP_ROWS, width), np.float32)
    least = np.full_like(steps, _ROUNDING_255)

    def visible(after: Float, before: Float) -> Float:
        space, lowest = (one[: after.shape[0], : after.shape[1]] for one in (steps, least))
        return np.asarray(cv2.max(cv2.absdiff(after, before, space), lowest, space), np.float32)

    for part in spans(0, height, _STRIP_ROWS):
        own, following = plane[part], plane[part.start + 1 : part.stop + 1]
        columns += cv2.reduce(visible(own[:, 1:], own[:, :-1]), 0, cv2.REDUCE_SUM)[0]
        if len(following):  # The last strip may be one row.
            down = visible(following, own[: len(following)])
            rows[part.start : part.start + len(down)] = cv2.reduce(down, 1, cv2.REDUCE_SUM)[:, 0]
    return columns / height - _ROUNDING_255, rows / width - _ROUNDING_255


def grid_ratio_of(plane: Float, grid_px: int = GRID_PX) -> float | None:
    """The larger of the two directions' median ratio; ``None`` below 8 grid cells each way."""
    if min(plane.shape) < grid_px * (_MIN_LINES + 1):
        return None
    ratio = max(_median_ratio(profile, grid_px) for profile in step_profiles(plane))
    if ratio < _SUSPECT or grid_px < GRID_PX:  # Steps 2 px apart make what lies between them lone, too.
        return ratio
    return min(ratio, max(_median_ratio(lone_steps(one), grid_px) for one in (plane, plane.T)))


def lone_steps(plane: Float) -> npt.NDArray[np.float64]:
    """What steps between columns (width - 1) differ by from the nearer neighbour, mean beyond rounding."""
    excess = np.zeros(plane.shape[1] - 1)
    for part in spans(0, plane.shape[0], _STRIP_ROWS):
        change = np.abs(np.diff(plane[part], n=2, axis=1))
        alone = np.minimum(change[:, 1:], change[:, :-1]) - np.float32(_ROUNDING_255)
        excess[1:-1] += np.maximum(alone, 0).sum(axis=0)
    excess /= plane.shape[0]
    return excess


def grid_ratio(reference: Float, result: Float) -> float | None:
    """Blocking of ``result`` beyond the reference's own: ratio(result) / max(1, ratio(reference)).

    Luma planes (height, width) float32 on 0..255, each at its own full size. About 1 for clean pictures. The
    reference's is taken of its own 8 px grid and, where it was enlarged by 2 or 4, of that which the result's
    lies on: there pixel art and screentone have their steps. ``None`` where the result is below 64 px.
    """
    after = grid_ratio_of(result)
    if after is None:
        return None
    enlarged = result.shape[1] / reference.shape[1]
    grids = [GRID_PX, *(int(GRID_PX / factor) for factor in (2, 4) if enlarged == factor)]
    return after / max(1.0, *(grid_ratio_of(reference, grid) or 1.0 for grid in grids))


def _median_ratio(profile: npt.NDArray[np.float64], grid_px: int) -> float:
    # Step i lies between pixels i and i + 1, so the steps of a grid of 8 px are 7, 15, 23, ...
    half = grid_px // 2
    at = np.arange(grid_px - 1, profile.size - half, grid_px)
    beside = np.stack([profile[at + k] for k in range(-half, half + 1) if k]).mean(axis=0)
    return float(np.median((profile[at] + _FLOOR) / (beside + _FLOOR)))
