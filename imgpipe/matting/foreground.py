"""The subject's own colours under a soft edge.

A soft edge pixel shows ``C = alpha F + (1 - alpha) B``. Storing C beside alpha leaves the old background in
the cutout; F is estimated by the multilevel method of Germer et al. 2020 ("Fast Multi-Level Foreground
Estimation"), which minimises the compositing error plus the roughness of F and B.
"""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.matting.matte import Alpha
from imgpipe.matting.trimap import Mask

#: Context around the soft band, px: what F and B are propagated from.
MARGIN_PX = 32

# pymatting's resize runs on numba's thread pool, whose portable backend ("workqueue") aborts the process
# when two threads enter it at once.
_ONE_AT_A_TIME = threading.Lock()


def decontaminate(colour: Pixels, alpha: Alpha, soft: Mask, *, absent: Mask | None = None) -> Pixels:
    """``colour`` with the estimated foreground on ``soft`` pixels; every other pixel is untouched.

    ``colour``: uint8 or uint16 (height, width, 3). ``alpha``: float32 (height, width) 0..1, of the matte
    alone, without the source's. ``absent``: pixels without a colour of their own.
    """
    result = colour.copy()
    if not soft.any():
        return result
    rows, columns = _window(soft, MARGIN_PX)
    inner = soft[rows, columns]
    full_scale = float(np.iinfo(colour.dtype).max)
    picture = colour[rows, columns].astype(np.float32) / np.float32(full_scale)
    if absent is not None and absent[rows, columns].any():
        picture = _filled(picture, absent[rows, columns])
    estimate = _estimate(picture, np.ascontiguousarray(alpha[rows, columns]))
    exact = np.clip(estimate[inner] * full_scale, 0.0, full_scale)
    result[rows, columns][inner] = np.rint(exact).astype(colour.dtype)
    return result


def _estimate(picture: npt.NDArray[np.float32], alpha: Alpha) -> npt.NDArray[np.float32]:
    from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml

    if max(alpha.shape) < 2:  # the method's number of levels is the logarithm of the longer side
        return picture
    with _ONE_AT_A_TIME:
        return np.asarray(estimate_foreground_ml(picture, alpha), np.float32)


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]]
    left, right = np.flatnonzero(mask.any(axis=0))[[0, -1]]
    return (
        slice(max(0, int(top) - margin), int(bottom) + 1 + margin),
        slice(max(0, int(left) - margin), int(right) + 1 + margin),
    )


def _filled(picture: npt.NDArray[np.float32], absent: Mask) -> npt.NDArray[np.float32]:
    """``absent`` pixels take the colour of the nearest present one."""
    if absent.all():
        return picture
    _, nearest = cv2.distanceTransformWithLabels(
        absent.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    present = ~absent
    colour_of = np.zeros((int(nearest.max()) + 1, picture.shape[2]), np.float32)
    colour_of[nearest[present]] = picture[present]
    return np.where(absent[..., None], colour_of[nearest], picture)
