"""The subject's own colours under a soft edge.

A soft edge pixel shows ``C = alpha F + (1 - alpha) B``. Storing C beside alpha leaves the old background in
the cutout. A smooth estimate of F loses the edges of drawings: a dark line of one or two
pixels, half of it soft. But where the background beside it is even, B is known, and F follows from C. So F
is the maximum of its posterior, in the manner of Chuang et al. 2001 ("A Bayesian Approach to Digital
Matting"), with everything Gaussian and per pixel:

    B ~ N(b, v_b)        from the pure background around, by pull-push
    F ~ N(f, s_f^2)      from the opaque subject and the more reliable soft pixels around, by pull-push
    C - alpha F ~ N((1 - alpha) b, (1 - alpha)^2 v_b + s_a^2 |f - b|^2 + q^2)

with ``s_a`` the error of alpha and ``q`` the rounding of C. Over even backgrounds this inverts the equation;
over busy ones, and where alpha is small, it falls back to the colours around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.matting.matte import Alpha
from imgpipe.matting.trimap import Mask
from imgpipe.pixels.pull_push import STRIP_ROWS, Field, pull_push
from imgpipe.pixels.strips import spans

#: Context around the soft band, px: what F and B are continued from.
MARGIN_PX = 32

#: Standard deviations: of the subject's colour around its neighbours', and of alpha's error.
_SUBJECT_SPREAD, _ALPHA_ERROR = 0.1, 0.04

Float = npt.NDArray[np.float32]


def decontaminate(colour: Pixels, alpha: Alpha, soft: Mask, *, absent: Mask | None = None) -> Pixels:
    """``colour`` with the estimated foreground on ``soft`` pixels; every other pixel is untouched.

    ``colour``: uint8 or uint16 (height, width, 3). ``alpha``: float32 (height, width) 0..1, of the matte
    alone, without the source's. ``soft``: where alpha is partial. ``absent``: fully transparent pixels
    of the source, which are not used.
    """
    result = colour.copy()
    if not soft.any():
        return result
    window = _window(soft, MARGIN_PX)
    full_scale = int(np.iinfo(colour.dtype).max)
    around = None if absent is None else absent[window]
    band = _Band(colour[window], alpha[window], soft[window], around, full_scale)
    height, width = band.soft.shape
    behind = pull_push(band.background, height, width)
    beside = pull_push(lambda rows: band.subject(rows, behind), height, width)
    inner = result[window]
    for rows in spans(0, height, STRIP_ROWS):
        exact = band.estimate(rows, behind, beside) * np.float32(full_scale)
        inner[rows][band.soft[rows]] = np.rint(exact).astype(colour.dtype)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The window around the soft pixels; ``rows`` are always rows of the window."""

    colour: Pixels
    alpha: Alpha
    soft: Mask
    absent: Mask | None
    full_scale: int

    def background(self, rows: slice) -> tuple[Float, Float]:
        """Colour and mean squared colour of pure background, for :func:`pull_push`."""
        picture = self._picture(rows)
        square = _mean(picture * picture)
        return np.concatenate([picture, square], axis=2), self._present(self.alpha[rows] <= 0, rows)

    def subject(self, rows: slice, behind: Field) -> tuple[Float, Float]:
        """Colour of the opaque subject, and of soft pixels without their background, weighted by how
        reliable that is, for :func:`pull_push`."""
        picture = self._picture(rows)
        weight = self._present(~self.soft[rows] & (self.alpha[rows] > 0), rows)
        shown, alpha, mean, variance = self._soft_pixels(rows, behind)
        own = np.clip((shown - (1 - alpha) * mean) / alpha, 0.0, 1.0)
        error = self._variance(alpha, variance, np.asarray(own - mean, np.float32)) / alpha**2
        picture[self.soft[rows]] = own
        weight[self.soft[rows]] = (_SUBJECT_SPREAD**2 / (_SUBJECT_SPREAD**2 + error))[:, 0]
        return picture, weight

    def estimate(self, rows: slice, behind: Field, beside: Field) -> Float:
        """F of the soft pixels, float32 (n, 3) 0..1."""
        shown, alpha, mean, variance = self._soft_pixels(rows, behind)
        prior = self._taken(beside, rows)
        ridge = self._variance(alpha, variance, prior - mean) / _SUBJECT_SPREAD**2
        unexplained = shown - alpha * prior - (1 - alpha) * mean
        return np.asarray(np.clip(prior + alpha * unexplained / (alpha**2 + ridge), 0.0, 1.0), np.float32)

    def _soft_pixels(self, rows: slice, behind: Field) -> tuple[Float, Float, Float, Float]:
        """C (n, 3), alpha (n, 1), B's mean (n, 3) and variance per channel (n, 1)."""
        soft = self.soft[rows]
        shown = self.colour[rows][soft].astype(np.float32) / np.float32(self.full_scale)
        alpha = self.alpha[rows][soft][:, None]
        if behind.empty:  # no background is seen anywhere: nothing to take out
            return shown, alpha, shown, np.ones_like(alpha)
        around = self._taken(behind, rows)
        mean, square = around[:, :3], around[:, 3:]
        variance = np.maximum(square - _mean(mean * mean), 0.0)
        return shown, alpha, mean, variance

    def _variance(self, alpha: Float, behind: Float, contrast: Float) -> Float:
        """Of C - alpha F, (n, 1)."""
        rounding = np.float32(0.5 / self.full_scale)
        apart = _mean(contrast * contrast)
        return np.asarray((1 - alpha) ** 2 * behind + _ALPHA_ERROR**2 * apart + rounding**2, np.float32)

    def _taken(self, field: Field, rows: slice) -> Float:
        """``field`` at the soft pixels, (n, channels)."""
        soft = self.soft[rows]
        return field.part(rows, slice(0, soft.shape[1]))[soft]

    def _picture(self, rows: slice) -> Float:
        return np.asarray(self.colour[rows].astype(np.float32) / np.float32(self.full_scale))

    def _present(self, chosen: Mask, rows: slice) -> Float:
        kept = chosen if self.absent is None else chosen & ~self.absent[rows]
        return kept.astype(np.float32)


def _mean(colours: Float) -> Float:
    """Of the three channels, (..., 3) -> (..., 1): ``np.mean``'s value in a fifth of its time."""
    total = colours[..., 0] + colours[..., 1]
    total += colours[..., 2]
    total /= np.float32(3)
    return np.asarray(total[..., None])


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]]
    left, right = np.flatnonzero(mask.any(axis=0))[[0, -1]]
    return (
        slice(max(0, int(top) - margin), int(bottom) + 1 + margin),
        slice(max(0, int(left) - margin), int(right) + 1 + margin),
    )
