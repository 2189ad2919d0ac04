"""Transparency: what a network sees where nothing is to be seen, and how alpha itself is enlarged."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.upscaling.axis_filter import AxisFilter
from imgpipe.upscaling.color_match import enlarged_rows
from imgpipe.upscaling.finish import STRIP_PIXELS, quantise

Floats = npt.NDArray[np.float32]

#: From this alpha on a pixel's own colour is believed; below it, it is mixed with its surroundings'.
_TRUSTED_ALPHA = 0.125


def extend_colours(colour: Floats, alpha: Floats) -> Floats:
    """Colours with the subject's own carried on beyond its silhouette: (h, w, 3) float32 in 0..1.

    ``colour``: (h, w, 3) straight, ``alpha``: (h, w) in 0..1. Under transparency a file holds black, white
    or anything; a network would draw an edge towards it and ring, and that ringing is the halo seen
    around enlarged cutouts. Filled by push-pull (Gortler et al., The Lumigraph, 1996): averages of known
    pixels on coarser and coarser grids, so the fill is smooth and fits at the silhouette. A picture
    without any visible pixel becomes black.
    """
    weight = np.minimum(alpha / _TRUSTED_ALPHA, 1.0).astype(np.float32)
    return _push_pull(colour * weight[..., None], weight)


def enlarge_alpha(
    alpha: Floats, width: int, height: int, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
) -> npt.NDArray[Any]:
    """Alpha (h, w) float32 in 0..1 as (height, width) ``dtype``, by Lanczos without its ringing.

    Each result is kept within the range of the 3 x 3 source pixels around it. So opaque stays exactly
    opaque and empty exactly empty; plain Lanczos leaves a ghost line of 2% beside every hard edge.
    """
    full = float(np.iinfo(dtype).max)
    lowest, highest = _range_around(alpha)
    if alpha.shape == (height, width):
        lowest = highest = alpha
    near_y = _nearest(alpha.shape[0], height)
    near_x = _nearest(alpha.shape[1], width)
    vertical, horizontal = AxisFilter(alpha.shape[0], height), AxisFilter(alpha.shape[1], width)
    result = np.empty((height, width), dtype)
    strip_rows = max(1, STRIP_PIXELS // width)
    for start in range(0, height, strip_rows):
        rows = slice(start, min(height, start + strip_rows))
        strip = vertical.along_rows(alpha[vertical.needs(rows), :, None], rows)
        strip = horizontal.along_columns(strip)[..., 0]
        around = np.ix_(near_y[rows], near_x)
        np.clip(strip, lowest[around], highest[around], out=strip)
        strip *= full
        result[rows] = quantise(strip, full)
    return result


def within_neighbours(levels: Pixels, alpha: Floats) -> Pixels:
    """An enlarged alpha (height, width), kept within the range of the source pixels around each of its own.

    ``alpha``: (h, w) in 0..1, what it was enlarged from. A network leaves a faint pattern where alpha is
    constant; with this, opaque stays opaque and empty stays empty. The range goes over from one source
    pixel to the next, or its steps would show.
    """
    full = np.iinfo(levels.dtype).max
    height, width = levels.shape
    bounds = np.stack(_range_around(alpha), axis=2)
    kept = np.empty_like(levels)
    strip_rows = max(1, STRIP_PIXELS // width)
    for start in range(0, height, strip_rows):
        rows = slice(start, min(height, start + strip_rows))
        strip = np.floor(enlarged_rows(bounds, width, height, rows) * full + 0.5)
        kept[rows] = np.clip(levels[rows], strip[..., 0], strip[..., 1])
    return kept


def _range_around(alpha: Floats) -> tuple[Floats, Floats]:
    """The least and the largest alpha among each pixel and its 8 neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    return (
        np.asarray(cv2.erode(alpha, kernel), np.float32),
        np.asarray(cv2.dilate(alpha, kernel), np.float32),
    )


def _push_pull(weighted: Floats, weight: Floats) -> Floats:
    height, width = weight.shape
    if weight.min() >= 1.0:
        return weighted
    if max(height, width) == 1:
        return weighted / weight[..., None] if weight[0, 0] > 0 else np.zeros_like(weighted)
    # The average weight of a coarse cell is raised again: a cell with any trusted pixel is known.
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse_weighted = np.asarray(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    raised = np.minimum(1.0, coarse_weight * 4)
    gain = np.divide(raised, coarse_weight, out=np.zeros_like(raised), where=coarse_weight > 0)
    coarse = _push_pull(coarse_weighted * gain[..., None].astype(np.float32), raised.astype(np.float32))
    fill = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(weighted + fill * (1 - weight)[..., None], dtype=np.float32)


def _nearest(length: int, new_length: int) -> npt.NDArray[np.intp]:
    """Index of the source sample that each new sample lies in."""
    return ((np.arange(new_length) + 0.5) * (length / new_length)).astype(np.intp)
