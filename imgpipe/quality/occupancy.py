"""Histogram occupancy: how many of the 256 levels a picture still uses.

Posterisation (too few bits, a palette, a broken conversion) leaves the means and edges alone but
empties most of the histogram's bins.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.images.image import Image
from imgpipe.pixels.strips import spans

#: Every so many rows are counted that about this many pixels are.
_COUNTED_PX = 2**20
#: A level counts as used when at least this share of the visible pixels has it (and one pixel does).
_MIN_SHARE = 1e-5
_STRIP_ROWS = 256


def occupied_levels(image: Image) -> int | None:
    """Number of used levels summed over the colour channels, 8-bit bins, at full size; of large pictures in
    evenly spread rows.

    Pixels of alpha below one half do not count; ``None`` where no pixel does.
    """
    channels = image.colour.shape[2]
    used = np.zeros((channels, 256))
    count, step = 0, max(1, image.width * image.height // _COUNTED_PX)
    for span in spans(0, image.height, _STRIP_ROWS * step):
        rows = slice(span.start, span.stop, step)
        part = image.pixels[rows] if image.bit_depth == 8 else (image.pixels[rows] >> 8).astype(np.uint8)
        mask = None
        if image.alpha is not None:
            mask = (image.alpha[rows] > image.max_value // 2).astype(np.uint8)
        count += part.shape[0] * part.shape[1] if mask is None else int(np.count_nonzero(mask))
        for channel in range(channels):
            used[channel] += cv2.calcHist([part], [channel], mask, [256], [0, 256]).ravel()
    if count == 0:
        return None
    least = max(1.0, _MIN_SHARE * count)
    return int(np.count_nonzero(used >= least) * 3 / channels)


def occupancy_ratio(reference: Image, result: Image) -> float | None:
    """Used levels of ``result`` / those of ``reference`` (0.. about 3); ``None`` where nothing is visible."""
    before, after = occupied_levels(reference), occupied_levels(result)
    return None if not before or after is None else after / before
