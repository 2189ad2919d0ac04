"""The alpha that a network enlarged, kept to the alpha that it was enlarged from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.pixels.alpha import range_around
from imgpipe.pixels.bilinear import enlarged_rows
from imgpipe.pixels.row_bands import RowBands
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.finish import STRIP_PIXELS

Floats = npt.NDArray[np.float32]

_BAND_PIXELS = 2**18


def keep_within_neighbours(levels: Pixels, alpha: Pixels) -> None:
    """Clip an enlarged alpha (height, width) to the range of the source pixels around each of its own.

    ``alpha``: (h, w) of full range, what it was enlarged from. A network leaves a faint pattern where alpha
    is constant; with this, opaque stays opaque and empty stays empty. The bounds are interpolated between
    source pixels, or their steps would show.
    """
    height, width = levels.shape
    full, source_full = np.iinfo(levels.dtype).max, np.float32(np.iinfo(alpha.dtype).max)

    def bounds_of(rows: slice) -> Floats:
        top = max(0, rows.start - 1)
        part = alpha[top : rows.stop + 1].astype(np.float32) / source_full
        lowest_highest: Floats = np.stack(range_around(part), axis=2)[rows.start - top :]
        return lowest_highest[: rows.stop - rows.start]

    bounds = RowBands((*alpha.shape, 2), max(1, _BAND_PIXELS // alpha.shape[1]), bounds_of)
    for rows in spans(0, height, max(1, STRIP_PIXELS // width)):
        strip = np.floor(enlarged_rows(bounds, width, height, rows) * full + 0.5)
        levels[rows] = np.clip(levels[rows], strip[..., 0], strip[..., 1])
