"""``diff.png``: the heat map of differences with its scale below."""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.images.formats.png_write import write_indexed_png
from imgpipe.images.image import Image
from imgpipe.pixels.difference import (
    BLACK,
    HEAT_RANGE_255,
    STEPS,
    U8,
    WHITE,
    bare_index,
    difference,
    heat_colours,
    heat_map,
)
from imgpipe.pixels.round_trip import Float

_BAR_PX = 20
_BAR_GAP_PX = 2
_TICKS = (0, 8, 16, 24, 32)
_MIN_LABELLED_PX = 160


def diff_png(reference: Image, result: Image, differences: Float | None = None) -> bytes:
    """The heat map as a PNG of 256 colours: pixel (x, y) is the source's pixel (x, y); the colour bar stands
    below.

    Width of the source (of the smaller picture, where the result is smaller), height + 22 px.
    ``differences``: those of the two where they are known
    (:attr:`~imgpipe.quality.report.QualityReport.differences`).
    """
    picture = heat_map(difference(reference, result) if differences is None else differences, reference)
    width = picture.shape[1]
    gap = np.full((_BAR_GAP_PX, width), WHITE, np.uint8)
    return write_indexed_png(np.concatenate([picture, gap, _colour_bar(width)]), heat_colours())


def _colour_bar(width: int) -> U8:
    """(20, width) indices: the scale from 0 to 32 with its numbers, where there is room for them."""
    steps = np.rint(np.linspace(0, STEPS, width)).astype(int)
    bar = np.tile(np.array([bare_index(step) for step in steps], np.uint8), (_BAR_PX, 1))
    if width < _MIN_LABELLED_PX:
        return bar
    for tick in _TICKS:
        text = f"{tick}/255" if tick == _TICKS[-1] else str(tick)
        (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        x = min(max(0, round(tick / HEAT_RANGE_255 * width) - length // 2), width - length - 2)
        for colour, thickness in ((BLACK, 3), (WHITE, 1)):
            cv2.putText(bar, text, (x, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_8)
    return bar
