"""What solving a soft band takes of memory, measured; known before it is solved.

It grows with the band's width: 1.0 kB for each unknown of a band of 6 px, 1.4 of one of 16 px, 2.2 to 2.4 of
wider ones.
"""

from __future__ import annotations

import math

_THIN_BYTES, _BYTES_PER_DECADE, _THIN_PX = 1300, 1200, 8
#: What is taken to be solved at once before it is known: this share of the picture, or so many unknowns.
#: Measured coarse to fine on real masks: 0.3 to 1% of 4 and 16 megapixels. More is asked for.
_ASSUMED_SHARE, _ASSUMED_LEAST = 1 / 200, 32_768


def assumed_band_bytes(pixels: int) -> int:
    """For a picture of so many pixels whose band is not known yet."""
    unknowns = max(int(_ASSUMED_SHARE * pixels), min(pixels, _ASSUMED_LEAST))
    return band_bytes(unknowns, unknowns + unknowns // 12)  # 24 px wide


def band_bytes(unknowns: int, centres: int) -> int:
    """For a band of so many pixels, solved on windows with so many centres: those and one on each side."""
    width_px = 2 * unknowns / max(1, centres - unknowns)
    return int(unknowns * (_THIN_BYTES + _BYTES_PER_DECADE * max(0.0, math.log10(width_px / _THIN_PX))))
