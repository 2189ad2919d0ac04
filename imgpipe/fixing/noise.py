"""How much noise a plane has, from the fine detail of its flattest places.

As in Ponomarenko et al. 2007, "An automatic approach to lossy compression of AVIRIS images": blocks are
sorted by the energy of their low frequencies, and the high ones of the flattest are noise alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgpipe.fixing.sliding_dct import Float, low_and_all

_HIGH = [k for k in range(64) if k // 8 + k % 8 >= 8]
#: Share of the blocks that count as flat, and the least number of them.
_FLAT_SHARE, _LEAST_BLOCKS = 0.25, 30
#: In noise the energies of the flattest blocks are alike, in texture they are not: upper over lower quartile.
_MOST_SPREAD = 2.0
#: What is less is left alone: film grain, dithering.
_LEAST_SIGMA_255 = 1.0
#: A median of squares is this part of their mean, for Gaussian noise of len(_HIGH) numbers.
_MEDIAN_OF_MEAN = (1 - 2 / (9 * len(_HIGH))) ** 3


def noise_sigma(planes: Sequence[Float]) -> float:
    """Standard deviation of white noise, 0..255; 0 where there is none to be told from texture.

    ``planes``: windows of one plane, 0..255. Blocks without any detail are left out: they are transparent, or
    black or white, where noise is cut off.
    """
    low, coefs = low_and_all(planes)
    low = np.square(low).mean(axis=1)
    high = np.square(coefs[:, _HIGH]).mean(axis=1)
    detailed = low + high > 1e-3
    low, high = low[detailed], high[detailed]
    count = int(low.size * _FLAT_SHARE)
    if count < _LEAST_BLOCKS:
        return 0.0
    lower, median, upper = np.percentile(high[np.argpartition(low, count)[:count]], (25, 50, 75))
    sigma = float(np.sqrt(median / _MEDIAN_OF_MEAN))
    return sigma if upper < _MOST_SPREAD * lower and sigma >= _LEAST_SIGMA_255 else 0.0
