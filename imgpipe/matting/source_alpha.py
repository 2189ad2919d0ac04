"""Use of a source's own alpha in matting.

Matting needs the visible picture, so a source with alpha is composited over one colour, chosen far from
the colours along its own soft edges. The matte found there and the source's alpha are then combined:
multiplied where the source is evenly translucent, but not multiplied twice along one and the same contour.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.colour import three_channels
from imgpipe.images.image import Image, Pixels
from imgpipe.matting.matte import Alpha
from imgpipe.matting.trimap import REFERENCE_SIDE_PX, Mask
from imgpipe.pixels.strips import spans

#: Half the width of an edge that is soft in the source already, px of a 1024 px picture and at least.
_EDGE_REACH_PX = 4
_STRIP_ROWS = 32

_BEHIND = np.array([[1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]], np.float32)


def colour_of(image: Image) -> Pixels:
    """(height, width, 3) in the image's own dtype; grey is repeated, alpha left out."""
    return cast(Pixels, np.ascontiguousarray(three_channels(image.colour)))


def absent_of(image: Image) -> Mask | None:
    """Fully transparent pixels, whose colours are undefined; ``None`` where there are none."""
    if image.alpha is None:
        return None
    absent = image.alpha == 0
    return absent if bool(absent.any()) else None


def visible_of(image: Image) -> Pixels:
    """(height, width, 3) in the image's own dtype: :func:`colour_of`, composited over one colour where the
    source has alpha."""
    colour = colour_of(image)
    if image.alpha is None or bool((image.alpha == image.max_value).all()):
        return colour
    full_scale = np.float32(image.max_value)
    visible = np.empty_like(colour)
    behind = np.asarray(_farthest_colour(colour, image.alpha, image.max_value) * full_scale, np.float32)
    for rows in spans(0, image.height, _STRIP_ROWS):
        coverage = (image.alpha[rows].astype(np.float32) / full_scale)[..., None]
        blended = colour[rows].astype(np.float32) * coverage + behind * (1.0 - coverage)
        visible[rows] = np.rint(np.clip(blended, 0, full_scale))
    return visible


def with_source_alpha(matte_alpha: Alpha, image: Image) -> Alpha:
    """The matte's alpha times the source's, float32 (height, width) 0..1.

    The source's alpha is split into its level around a pixel and its edge relative to that level. The level
    is multiplied in; of two edges, the matte's and the source's, the smaller coverage counts: a contour that
    the source has cut already is the same contour, and multiplying it would square it.
    """
    if image.alpha is None:
        return matte_alpha
    own = image.alpha.astype(np.float32) / np.float32(image.max_value)
    scale = max(1.0, max(image.height, image.width) / REFERENCE_SIDE_PX)
    side = 2 * round(_EDGE_REACH_PX * scale) + 1
    level = np.asarray(cv2.dilate(own, np.ones((side, side), np.uint8)), np.float32)
    edge = np.divide(own, level, out=np.zeros_like(own), where=level > 0)
    combined = np.where(matte_alpha == 1, own, level * np.minimum(matte_alpha, edge))
    return np.asarray(combined, np.float32)


def _farthest_colour(colour: Pixels, alpha: Pixels, max_value: int) -> npt.NDArray[np.float32]:
    """Of a few pure colours, the one farthest from every colour beside transparency."""
    beside = cv2.dilate((alpha < max_value).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    edge = colour[beside & (alpha > 0)].astype(np.float32) / np.float32(max_value)
    if edge.shape[0] == 0:
        return np.ones(3, np.float32)
    edge = edge[:: max(1, edge.shape[0] // 4096)]
    distances = np.linalg.norm(edge[:, None] - _BEHIND[None], axis=2)
    return np.asarray(_BEHIND[np.argmax(np.quantile(distances, 0.02, axis=0))], np.float32)
