"""Measurements of an alpha matte without ground truth.

foreground      share of pixels with alpha of at least one half (0..1): near 0 no subject was found,
                near 1 nothing was removed.
components      8-connected objects of at least 64 px: a figure is one, specks of background are many.
soft_band_px    area of 0.05 < alpha < 0.95 over the length of the 0.5 contours: the mean width of the
                transition, px. 0 is a hard cut, about 1 a good edge, tens a blurred mask.
touch_*         share of each border that the subject covers: a truncated subject.
holes           4-connected background regions of at least 64 px inside the subject.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float

MIN_REGION_PX = 64


def matte_facts(alpha: Float) -> dict[str, float | None]:
    """Name, as the module lists them -> value, of an ``alpha`` (height, width) float32 in 0..1.

    ``soft_band_px`` is ``None`` where the subject has no border inside the picture.
    """
    mask = alpha >= 0.5
    return {
        "foreground": float(mask.mean()),
        "components": float(_large_objects(mask)),
        "soft_band_px": _soft_band_px(alpha, mask),
        "touch_top": float(mask[0].mean()),
        "touch_right": float(mask[:, -1].mean()),
        "touch_bottom": float(mask[-1].mean()),
        "touch_left": float(mask[:, 0].mean()),
        "holes": float(_holes(mask)),
    }


def _large_objects(mask: npt.NDArray[np.bool_]) -> int:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return int((stats[1:count, cv2.CC_STAT_AREA] >= MIN_REGION_PX).sum())


def _soft_band_px(alpha: Float, mask: npt.NDArray[np.bool_]) -> float | None:
    """Soft area / border length; the border is counted in pixel sides, corrected for direction.

    Counting the sides between inside and outside pixels measures a border at angle t as
    |cos t| + |sin t| times its length, 4 / pi on average over directions.
    """
    sides = int((mask[1:] != mask[:-1]).sum()) + int((mask[:, 1:] != mask[:, :-1]).sum())
    if sides == 0:
        return None
    soft = int(((alpha > 0.05) & (alpha < 0.95)).sum())
    return soft / (sides * np.pi / 4)


def _holes(mask: npt.NDArray[np.bool_]) -> int:
    """Number of large background regions that are not connected to the picture's border."""
    outside = np.pad(~mask, 1, constant_values=True)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(outside.astype(np.uint8), connectivity=4)
    frame = int(labels[0, 0])
    return sum(1 for n in range(1, count) if n != frame and stats[n, cv2.CC_STAT_AREA] >= MIN_REGION_PX)
