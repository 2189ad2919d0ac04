"""Deblocking and denoising of a piece of a picture, from what is known of its damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imgpipe.fixing import chroma, sliding_dct
from imgpipe.fixing.chroma import Grid
from imgpipe.fixing.sliding_dct import Float, shrink, within_bins

#: Tuned on the tuning half of ``benchmarks/fixing.py``, at strength 0.5. Thresholds: of quantisation steps,
#: and of a noise's standard deviation, for luma and chroma.
_STEPS, _LUMA_SIGMAS, _CHROMA_SIGMAS = 0.4, 1.8, 2.0
#: The bilateral filter's window, px, and its range, of the square root of a step or of a sigma, levels.
_WINDOW_SIGMA_PX, _RANGE_OF_STEPS, _RANGE_OF_SIGMA = 3.0, 2.4, 1.5
_WINDOW_PX = 5
#: The energy that thresholds take from edges comes back: what a Gaussian of this window and sigma, px, takes
#: from luma is added, this much per level of a step.
_SHARP_PX, _SHARP_SIGMA_PX, _SHARP_PER_STEP = 3, 1.0, 0.0033
#: Low frequencies, whose steps say how coarse a table is.
_LOW = [1, 2, 8, 9, 16]
#: Context that a piece needs to each side so that its inner part is that of the whole picture, px: chroma at
#: a factor of 2, the bilateral filter, sharpening, the bins. A multiple of 16, as are the corners of pieces.
_NEEDED_PX = 2 * (sliding_dct.REACH_PX + chroma.REACH_PX) + _WINDOW_PX + _SHARP_PX + sliding_dct.BLOCK_PX
REACH_PX = -(-_NEEDED_PX // 16) * 16


@dataclass(frozen=True, slots=True, eq=False)
class Damage:
    """``luma``, ``chroma``: (64,) quantisation steps, ``None`` without JPEG. ``sampling``: px of luma to one
    of chroma, down and across. ``offset``: px from a block's first corner to the picture's, down and across.
    ``sigmas``: of noise in Y, Cb and Cr, 0..255; 0 for none."""

    luma: Float | None = None
    chroma: Float | None = None
    sampling: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)
    sigmas: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __bool__(self) -> bool:
        return self.luma is not None or any(self.sigmas)


def smoothed(planes: Sequence[Float], damage: Damage, strength: float) -> list[Float]:
    """Y alone, or Y, Cb and Cr, of a piece whose corner is a multiple of 16 px; 0..255, chroma around 0.

    ``strength``: above 0 to 1; 0.5 removes what the damage is taken for, 1 takes it for twice as much.
    """
    source, gain = planes[0], np.float32(2 * strength)
    noisy = any(damage.sigmas)
    luma = _shrunk(source, damage.luma, gain, _LUMA_SIGMAS * damage.sigmas[0])
    if damage.luma is not None and not noisy:
        luma = _bound(luma, source, damage.luma, strength, damage.offset)
    colours = [
        _chroma(plane, luma, damage, strength, sigma)
        for plane, sigma in zip(planes[1:], damage.sigmas[1:], strict=False)
    ]
    smooth = _bilateral([luma, *colours], float(gain) * _range(damage))
    if damage.luma is not None and not noisy:
        smooth[0] = _bound(_sharp(smooth[0], damage.luma, gain), source, damage.luma, strength, damage.offset)
    return smooth


def _chroma(plane: Float, luma: Float, damage: Damage, strength: float, sigma: float) -> Float:
    """As luma, on the grid on which JPEG stored it, then at full size along the edges of ``luma``."""
    gain, noise = np.float32(2 * strength), _CHROMA_SIGMAS * sigma
    if damage.sampling == (1, 1):
        smooth = _shrunk(plane, damage.chroma, gain, noise)
        if damage.chroma is not None and not noise:
            smooth = _bound(smooth, plane, damage.chroma, strength, damage.offset)
        return smooth
    down, across = damage.sampling
    grid = Grid(damage.sampling, (damage.offset[0] % down, damage.offset[1] % across))
    stored = grid.stored(plane)
    smooth = _shrunk(stored, damage.chroma, gain, noise)
    if damage.chroma is not None and not noise and damage.offset == (0, 0):
        smooth = _bound(smooth, stored, damage.chroma, strength, (0, 0))
    shape = plane.shape[0], plane.shape[1]
    sharpened = min(1.0, float(gain)) * (grid.guided(smooth, luma) - grid.fine(smooth, shape))
    return plane + grid.fine(smooth - stored, shape) + sharpened


def _shrunk(plane: Float, steps: Float | None, gain: np.float32, noise: float) -> Float:
    thresholds = np.full(64, noise, np.float32)
    if steps is not None:
        thresholds = np.maximum(thresholds, np.float32(_STEPS) * steps)
    return shrink(plane, thresholds * gain)


def _bound(result: Float, source: Float, steps: Float, strength: float, offset: tuple[int, int]) -> Float:
    """At strength 0.5 nearer to the source than the bins allow, which is nearer to the truth as well."""
    return within_bins(result, source, steps, 0.1 + 0.4 * strength, offset)


def _sharp(luma: Float, steps: Float, gain: np.float32) -> Float:
    edge = (2 * _SHARP_PX + 1,) * 2
    detail = luma - cv2.GaussianBlur(luma, edge, _SHARP_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return luma + np.float32(_SHARP_PER_STEP) * gain * _coarseness(steps) * detail


def _coarseness(steps: Float) -> np.float32:
    return np.float32(steps[_LOW].mean())


def _range(damage: Damage) -> float:
    steps = 0.0 if damage.luma is None else _RANGE_OF_STEPS * float(_coarseness(damage.luma)) ** 0.5
    return max(steps, _RANGE_OF_SIGMA * damage.sigmas[0])


def _bilateral(planes: Sequence[Float], levels: float) -> list[Float]:
    """Joint bilateral filter (Tomasi and Manduchi 1998); ``levels``: its range's standard deviation.

    OpenCV tabulates weights between the least and the largest value: two more rows hold these, so that a
    piece's are those of the whole picture.
    """
    height = planes[0].shape[0]
    stack = np.stack([planes[0], *(plane + np.float32(128) for plane in planes[1:])], axis=-1)
    stack = cv2.copyMakeBorder(stack.clip(0, 255), 0, _WINDOW_PX + 2, 0, 0, cv2.BORDER_REFLECT_101)
    stack[-2], stack[-1] = 0, 255
    smooth = cv2.bilateralFilter(stack, 2 * _WINDOW_PX + 1, levels, _WINDOW_SIGMA_PX)[:height]
    smooth = smooth.reshape(height, -1, len(planes))
    return [np.ascontiguousarray(smooth[..., at]) - np.float32(128 * (at > 0)) for at in range(len(planes))]
