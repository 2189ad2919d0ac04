"""Transparency around a network: which colours it sees under alpha 0, and the alpha that it enlarges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.pixels.alpha import range_around
from imgpipe.pixels.bilinear import enlarged_rows
from imgpipe.pixels.pull_push import pull_push
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.finish import STRIP_PIXELS

Floats = npt.NDArray[np.float32]

#: From this alpha on a pixel's own colour is used; below it, it is mixed with the colours around.
_TRUSTED_ALPHA = 0.125


def extend_colours(colour: Floats, alpha: Floats) -> Floats:
    """The subject's colours extended beyond its silhouette: (h, w, 3) float32 in 0..1.

    ``colour``: (h, w, 3) straight, ``alpha``: (h, w) in 0..1. Under transparency a file holds black, white
    or any other colour; a network would draw an edge towards it and ring, which is the halo seen around
    enlarged cutouts. Filled by :func:`imgpipe.pixels.pull_push.pull_push`. A picture without any visible
    pixel becomes black.
    """
    weight = np.minimum(alpha / _TRUSTED_ALPHA, 1.0).astype(np.float32)
    if weight.min() >= 1.0:
        return colour
    filled = pull_push(lambda rows: (colour[rows], weight[rows]), *weight.shape).everywhere(*weight.shape)
    known = weight[..., None]
    return np.asarray(colour * known + filled * (1 - known), np.float32)


def within_neighbours(levels: Pixels, alpha: Floats) -> Pixels:
    """An enlarged alpha (height, width), kept within the range of the source pixels around each of its own.

    ``alpha``: (h, w) in 0..1, what it was enlarged from. A network leaves a faint pattern where alpha is
    constant; with this, opaque stays opaque and empty stays empty. The bounds are interpolated between
    source pixels, or their steps would show.
    """
    full = np.iinfo(levels.dtype).max
    height, width = levels.shape
    bounds = np.stack(range_around(alpha), axis=2)
    kept = np.empty_like(levels)
    for rows in spans(0, height, max(1, STRIP_PIXELS // width)):
        strip = np.floor(enlarged_rows(bounds, width, height, rows) * full + 0.5)
        kept[rows] = np.clip(levels[rows], strip[..., 0], strip[..., 1])
    return kept
