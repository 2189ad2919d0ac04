"""A JPEG's chroma on its own coarser grid, and back at the picture's size along the edges of its luma."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from imgpipe.fixing.sliding_dct import Float

#: Rounds in which the coarse plane is found: what libjpeg's interpolation blurs comes back.
_ROUNDS = 4
#: The guided filter's window, px of the coarse plane to each side, and its variance, levels squared.
_GUIDE_PX, _GUIDE_VARIANCE = 2, 64.0
#: How far a result reaches, px of the coarse plane, beyond what is done with the plane in between.
REACH_PX = _ROUNDS + 2 * _GUIDE_PX + 4


@dataclass(frozen=True, slots=True)
class Grid:
    """``factors``: px to a coarse pixel, down and across. ``offset``: px from the first corner of a coarse
    pixel to the plane's, 0..factor - 1."""

    factors: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    def coarse(self, plane: Float) -> Float:
        """The means of the pixels that share a coarse one."""
        down, right = self.offset
        below, beside = (
            -(side + first) % factor
            for side, first, factor in zip(plane.shape, self.offset, self.factors, strict=True)
        )
        padded = cv2.copyMakeBorder(plane, down, below, right, beside, cv2.BORDER_REPLICATE)
        size = padded.shape[1] // self.factors[1], padded.shape[0] // self.factors[0]
        return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.float32)

    def fine(self, coarse: Float, shape: tuple[int, int]) -> Float:
        """Interpolated as libjpeg does it: at a factor of 2 by 3/4 and 1/4."""
        size = coarse.shape[1] * self.factors[1], coarse.shape[0] * self.factors[0]
        whole = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        (down, right), (height, width) = self.offset, shape
        return np.asarray(whole[down : down + height, right : right + width], np.float32)

    def stored(self, plane: Float) -> Float:
        """The coarse plane from which :meth:`fine` makes ``plane`` (Van Cittert's iteration)."""
        means = self.coarse(plane)
        found = means
        for _ in range(_ROUNDS):
            found = found + means - self.coarse(self.fine(found, (plane.shape[0], plane.shape[1])))
        return found

    def guided(self, coarse: Float, luma: Float) -> Float:
        """``coarse`` at the size of ``luma``, locally a linear function of it where the two go together.

        He, Sun and Tang 2013, "Guided image filtering", with the means of the result kept.
        """
        guide = self.coarse(luma)
        mean_guide, mean = _mean(guide), _mean(coarse)
        covariance = _mean(guide * coarse) - mean_guide * mean
        variance = _mean(guide * guide) - mean_guide * mean_guide + np.float32(_GUIDE_VARIANCE)
        slope = np.asarray(covariance / variance, np.float32)
        shape = luma.shape[0], luma.shape[1]
        base = _mean(np.asarray(mean - slope * mean_guide, np.float32))
        result = self.fine(_mean(slope), shape) * luma + self.fine(base, shape)
        for _ in range(2):
            result += self.fine(coarse - self.coarse(result), shape)
        return result


def _mean(plane: Float) -> Float:
    edge = 2 * _GUIDE_PX + 1
    return np.asarray(cv2.blur(plane, (edge, edge), borderType=cv2.BORDER_REFLECT_101), np.float32)
