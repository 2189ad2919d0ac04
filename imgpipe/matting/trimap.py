"""Makes a trimap from a network's soft mask: certain and unknown pixels.

The certain areas are shrunk by a distance before matting, because a network's border is off by some pixels.
Shrinking by a fixed distance deletes everything thinner than twice that distance: hair strands stop being
anchored as subject, gaps between strands stop being anchored as background, and closed-form matting then
fills them with whatever lies beside. So the distance follows the local half-thickness.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import ConfigError
from imgpipe.matting.matte import Alpha

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255

Trimap = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: The picture size that erosion distances are given for, px of the longer side.
REFERENCE_SIDE_PX = 1024

_BACKGROUND_FACTOR = 2.0

_ANTIALIASED_EDGE_PX = 3.0

#: A structure thinner than the erosion keeps the part that lies deeper than this share of its half-thickness.
_THIN_DEPTH = 0.6


def scaled_erosion_px(erode_size: float, height: int, width: int) -> float:
    """``erode_size`` (px of a 1024 px picture) in px of this picture; unless it is 0, at least 3 px, an
    antialiased edge and one more pixel on each side, at any size."""
    if erode_size == 0:
        return 0.0
    return max(_ANTIALIASED_EDGE_PX, erode_size * max(height, width) / REFERENCE_SIDE_PX)


def make_trimap(
    coarse: Alpha, *, foreground_threshold: int, background_threshold: int, erosion_px: float
) -> Trimap:
    """uint8 (height, width): 255 certainly subject, 0 certainly background, 128 unknown.

    ``coarse``: float32 (height, width) 0..1. The thresholds are on its 0..255 scale, both exclusive:
    above ``foreground_threshold``, below ``background_threshold``. ``erosion_px``: how far the certain
    subject is shrunk; the certain background is shrunk by twice that, because networks omit strands more
    often than they invent them. The picture's border shrinks neither. Raises :class:`ConfigError` for
    thresholds that cannot be met.
    """
    if not 0 <= background_threshold < foreground_threshold <= 254:
        raise ConfigError(
            f"trimap thresholds: expected 0 <= background < foreground <= 254, got background "
            f"{background_threshold} and foreground {foreground_threshold}; use 10 and 240"
        )
    scaled = coarse * 255.0
    trimap = np.full(coarse.shape, UNKNOWN, np.uint8)
    trimap[shrink(scaled > foreground_threshold, erosion_px)] = FOREGROUND
    trimap[shrink(scaled < background_threshold, _BACKGROUND_FACTOR * erosion_px)] = BACKGROUND
    return trimap


def shrink(mask: Mask, distance_px: float) -> Mask:
    """``mask`` eroded by a disc, except that thin structures keep their core.

    A pixel stays when its distance to the outside exceeds ``distance_px`` or 0.6 times the largest such
    distance nearby (the local half-thickness), whichever is smaller.
    """
    if distance_px <= 0 or not mask.any() or mask.all():
        return mask
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    reach = 2 * int(np.ceil(distance_px)) + 1
    half_thickness = cv2.dilate(depth, np.ones((reach, reach), np.uint8))
    return np.asarray((depth > distance_px) | ((depth > _THIN_DEPTH * half_thickness) & mask))
