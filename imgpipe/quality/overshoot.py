"""Overshoot: edges with a halo on both sides, darker and brighter than anything around them in the source.

An unsharp mask makes both. A network that redraws a thin dark line makes it darker, and no brighter ground
beside it; so the smaller of the two shares counts.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Float

_WINDOW_PX, _EDGE_255, _BEYOND_255 = 5, 24, 8
_MIN_EDGE_PX = 64


def overshoot(reference: Float, round_trip: Float) -> float | None:
    """Share of edge pixels, 0..1, of two lumas (height, width) float32 on 0..255.

    Edge pixels: the source differs by more than 24 within 5x5 px. They overshoot where the round trip is more
    than 8 beyond what the source has there. ``None`` below 64 edge pixels.
    """
    source, after = cv2.convertScaleAbs(reference), cv2.convertScaleAbs(round_trip)
    window = np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)
    highest, lowest = cv2.dilate(source, window), cv2.erode(source, window)
    edges = highest - lowest > _EDGE_255
    count = int(np.count_nonzero(edges))
    if count < _MIN_EDGE_PX:
        return None
    beyond = (cv2.subtract(after, highest), cv2.subtract(lowest, after))
    return min(int(np.count_nonzero((one > _BEYOND_255) & edges)) for one in beyond) / count
