"""Closed-form matting from a coarse grid to the picture's own.

A network's mask leaves wide unknown bands, but alpha changes only along lines in them. So the band is solved
on a grid so coarse that it is a few pixels wide there, and each finer grid solves only the pixels beside a
steep place of the coarser alpha. The other pixels keep the coarser alpha, enlarged bilinearly. (Levin,
Lischinski and Weiss 2008 propose a pyramid too, for the whole picture's system.)

Over the benchmark's 48 cases errors are smaller than with every unknown pixel solved on the finest grid:
fewer pixels are open to regions that the colours do not determine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.matting.closed_form import ClosedForm, solve_closed_form
from imgpipe.matting.laplacian import EPSILON
from imgpipe.matting.matte import Alpha
from imgpipe.matting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, Mask, Trimap
from imgpipe.pixels.resize import cv2_resize

#: Mean half width of the band, px, above which it is solved on a coarser grid first.
_NARROW_PX = 4.0

#: A finer grid solves the pixels beside which alpha differs by more than this within 5x5 px.
_STEEP = 0.25

#: Of the pixels of a grid, about this share, or so many, are solved on it after a coarser one: the steepest.
_MOST_SOLVED, _FEW_PX = 0.06, 32_768

#: A grid is not halved below this side, px.
_LEAST_SIDE_PX = 64

_Level = TypeVar("_Level", np.uint8, np.uint16, np.float32)

_NEIGHBOURS = np.ones((3, 3), np.uint8)
_REACH = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class CoarseToFine:
    """``finest``: the solution on the picture's grid. ``unsolved``: unknown pixels of all grids that keep
    the prior or the coarser alpha. ``solved_px``: unknowns of each grid, the coarsest first."""

    finest: ClosedForm
    unsolved: int
    solved_px: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Limits:
    """``half_width_px``: of the band, px of this grid; ``most_px``: to solve on one grid; ``picture_px``: of
    the finest. ``epsilon``: as :func:`solve_closed_form` has it, on every grid."""

    half_width_px: float
    most_px: int
    picture_px: int
    epsilon: float | None


def solve_coarse_to_fine(
    colour: Pixels, trimap: Trimap, *, prior: Alpha, prior_weight: float, epsilon: float | None = EPSILON
) -> CoarseToFine:
    """Alpha of the unknown pixels of ``trimap``; parameters as :func:`solve_closed_form` has them."""
    most_px = max(int(_MOST_SOLVED * trimap.size), _FEW_PX)
    limits = _Limits(_half_width_px(trimap), most_px, trimap.size, epsilon)
    return _solve(colour, trimap, prior, prior_weight, limits)


def _solve(
    colour: Pixels, trimap: Trimap, prior: Alpha, prior_weight: float, limits: _Limits
) -> CoarseToFine:
    unknown = trimap == UNKNOWN
    narrow = limits.half_width_px <= _NARROW_PX and np.count_nonzero(unknown) <= limits.most_px
    if narrow or min(trimap.shape) < 2 * _LEAST_SIDE_PX:
        solved = solve_closed_form(
            colour,
            trimap,
            prior=prior,
            prior_weight=prior_weight,
            epsilon=limits.epsilon,
            admitted_px=limits.picture_px,
        )
        return CoarseToFine(solved, solved.unsolved, (int(np.count_nonzero(unknown)),))
    halved = replace(limits, half_width_px=limits.half_width_px / 2)
    coarser = _on_half(colour, trimap, prior, prior_weight, halved)
    alpha = _enlarged(coarser.finest.alpha, trimap)
    open_pixels = unknown & _steep(alpha, unknown, limits.most_px)
    closed = np.where(open_pixels, UNKNOWN, np.where(alpha < 0.5, BACKGROUND, FOREGROUND)).astype(np.uint8)
    solved = solve_closed_form(
        colour,
        closed,
        prior=prior,
        prior_weight=prior_weight,
        epsilon=limits.epsilon,
        coarser=alpha,
        admitted_px=limits.picture_px,
    )
    counts = (*coarser.solved_px, int(np.count_nonzero(open_pixels)))
    return CoarseToFine(solved, coarser.unsolved + solved.unsolved, counts)


def _on_half(
    colour: Pixels, trimap: Trimap, prior: Alpha, prior_weight: float, limits: _Limits
) -> CoarseToFine:
    half = cast(Pixels, _halved(colour))
    # One pixel stands for four: so does its prior. The Laplacian's energy does not depend on the grid.
    return _solve(half, _halved_trimap(trimap), _halved(prior), 4 * prior_weight, limits)


def _enlarged(coarse: Alpha, trimap: Trimap) -> Alpha:
    """0 and 1 on known pixels, ``coarse`` on the others."""
    known = (trimap == FOREGROUND).astype(np.float32)
    size = (2 * coarse.shape[1], 2 * coarse.shape[0])
    doubled = cv2_resize(coarse, size, cv2.INTER_LINEAR)[: trimap.shape[0], : trimap.shape[1]]
    return np.where(trimap == UNKNOWN, doubled, known)


def _half_width_px(trimap: Trimap) -> float:
    """Of the unknown pixels: their number per pixel of their rim; 0 where there are none."""
    unknown = (trimap == UNKNOWN).astype(np.uint8)
    area = cv2.countNonZero(unknown)
    rim = area - cv2.countNonZero(cv2.erode(unknown, _NEIGHBOURS))
    return area / max(rim, 1)


def _steep(alpha: Alpha, unknown: Mask, most: int) -> Mask:
    """The pixels beside a steep place of ``alpha``, of ``unknown`` about ``most`` at most.

    What is known on this grid and not on the coarser one, such as the core of a strand of hair, is steep too.
    """
    slope = cv2.dilate(alpha, _REACH) - cv2.erode(alpha, _REACH)
    near = cv2.dilate(slope, _NEIGHBOURS)
    candidates = near[unknown & (near > _STEEP)]
    if candidates.size <= most:
        return near > _STEEP
    return np.asarray(near >= np.partition(candidates, candidates.size - most)[candidates.size - most])


def _halved_trimap(trimap: Trimap) -> Trimap:
    """A pixel is known where all four that it covers are known and equal."""
    half = np.full(((trimap.shape[0] + 1) // 2, (trimap.shape[1] + 1) // 2), UNKNOWN, np.uint8)
    for value in (BACKGROUND, FOREGROUND):
        half[_halved(np.where(trimap == value, np.float32(1), np.float32(0))) == 1] = value
    return half


def _halved(values: npt.NDArray[_Level]) -> npt.NDArray[_Level]:
    height, width = values.shape[:2]
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, values.dtype)
