"""A picture enlarged by Lanczos and averaged back to its own size by area."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from imgpipe.pixels.axis_filter import AxisFilter, Floats
from imgpipe.pixels.round_trip import average_rows, rows_covered
from imgpipe.pixels.strips import spans

#: Rows of the picture that are enlarged at once.
_STRIP_ROWS = 16
_FULL = np.float32(255.0)


def lanczos_averages(
    layers: Callable[[slice], Floats], shape: tuple[int, int], size: tuple[int, int]
) -> Iterator[tuple[slice, Floats]]:
    """(rows, their averages (rows, width, c)) of a picture of ``shape`` = (height, width), by strips.

    ``layers``: rows -> the picture's own (rows, width, c) on 0..255; with c = 4 premultiplied, alpha last.
    ``size``: (width, height) of the enlargement, no side smaller than the picture's. Its values are clipped
    to 0..255, colours to their alpha, and not rounded. At the border the kernel is cut off and normalised
    again, as by Pillow.
    """
    height, width = shape
    across, down = AxisFilter(width, size[0]), AxisFilter(height, size[1])
    for rows in spans(0, height, _STRIP_ROWS):
        part = slice(*rows_covered(rows.start, rows.stop, size[1], height))
        enlarged = across.along_columns(down.along_rows(layers(down.needs(part)), part))
        np.clip(enlarged, 0, _FULL, out=enlarged)
        if enlarged.shape[2] == 4:
            np.minimum(enlarged[..., :3], enlarged[..., 3:], out=enlarged[..., :3])
        yield rows, average_rows(enlarged, width, (rows.start, rows.stop), part.start, size[1] / height)
