"""Multi-scale SSIM: Wang, Simoncelli, Bovik, Asilomar 2003, with the authors' weights of five scales.

    MS-SSIM = mean(l cs) at the coarsest scale ^ w5  *  product over the finer scales of mean(cs)^w

l and cs are SSIM's luminance and contrast-structure terms (:mod:`imgpipe.quality.ssim`); each scale is the
2x2 mean of the one before. A negative mean counts as 0, as in the common implementations: a power of it
would not be real.
"""

from __future__ import annotations

import numpy as np

from imgpipe.pixels.resize import halved
from imgpipe.pixels.round_trip import Float
from imgpipe.quality.psnr import check_same_shape
from imgpipe.quality.ssim import WINDOW_PX, similarity_means

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: The shortest side that still holds a window at the coarsest scale.
MIN_SIDE_PX = WINDOW_PX * 2 ** (len(WEIGHTS) - 1)


def ms_ssim(
    reference: Float,
    distorted: Float,
    weight: Float | None = None,
    *,
    finest: tuple[float, float] | None = None,
) -> float | None:
    """MS-SSIM of two luma planes (height, width) float32 on 0..255: 0..1, 1 for equal pictures.

    ``weight`` (height, width) weights the window centres. An odd last row or column is left out when a
    scale is halved. ``None`` below 176 px a side and where no centre has weight. ``finest``: what
    :func:`similarity_means` says of these arguments, where that is known already.
    """
    check_same_shape(reference, distorted, weight)
    if min(reference.shape) < MIN_SIDE_PX:
        return None
    planes: tuple[Float, Float, Float | None] = (reference, distorted, weight)
    product = 1.0
    for scale, exponent in enumerate(WEIGHTS):
        if scale:
            a, b, w = planes
            planes = halved(a), halved(b), None if w is None else halved(w)
        means = similarity_means(*planes) if scale or finest is None else finest
        if means is None:
            return None
        whole, contrast_structure = means
        last = scale == len(WEIGHTS) - 1
        product *= max(whole if last else contrast_structure, 0.0) ** exponent
    return float(np.clip(product, 0.0, 1.0))
