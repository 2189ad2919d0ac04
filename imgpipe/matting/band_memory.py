"""What solving a soft band takes of memory, measured; known before it is solved.

A band up to a million unknowns has a complete factor (``solver.py``), which grows with its width: 1.9 kB for
each unknown of a thin one, 3.6 of one of 200 px. A larger one has an incomplete factor, 1.8 to 2.2 kB.
"""

from __future__ import annotations

import math

_THIN_BYTES, _BYTES_PER_DECADE, _INCOMPLETE_BYTES = 1900, 1800, 2300
_THIN_PX, _MOST_COMPLETE = 20, 1_000_000
#: What is taken to be solved at once before it is known: this share of the picture, or so many unknowns.
#: Measured coarse to fine on real masks: 0.3 to 1% of 4 and 16 megapixels. More is asked for.
_ASSUMED_SHARE, _ASSUMED_LEAST = 1 / 200, 32_768


def assumed_band_bytes(pixels: int) -> int:
    """For a picture of so many pixels whose band is not known yet."""
    unknowns = max(int(_ASSUMED_SHARE * pixels), min(pixels, _ASSUMED_LEAST))
    return _THIN_BYTES * min(unknowns, _MOST_COMPLETE)


def band_bytes(unknowns: int, centres: int) -> int:
    """For a band of so many pixels, solved on windows with so many centres: those and one on each side."""
    if unknowns > _MOST_COMPLETE:
        return _INCOMPLETE_BYTES * unknowns
    width_px = 2 * unknowns / max(1, centres - unknowns)
    return int(unknowns * (_THIN_BYTES + _BYTES_PER_DECADE * max(0.0, math.log10(width_px / _THIN_PX))))
