"""How far a network looks, found out from outside: change one column and see which outputs change.

For networks that only run from end to end, as files for onnxruntime or OpenCV do. What does not change
in float32 (or in the 8 bits that some give) is further away than the network sees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imgpipe.upscaling.network import UNBOUNDED_HALO_PX, Floats, ReceptiveField

_WIDTHS_PX = (64, 128, 256)
_HEIGHT_PX = 32
_TRIALS = 3

#: Smaller differences come from the order in which a differently shaped window is summed.
_SAME = 1e-5


def measure(enlarge: Callable[[Floats], Floats], scale: int) -> ReceptiveField:
    """The field of ``enlarge``: (h, w, 3) float32 in 0..1 -> (h * scale, w * scale, 3).

    Where the change reaches the strip's ends, or a strip cut elsewhere differs beyond the field, it counts
    as unbounded.
    """
    rng = np.random.default_rng(0)
    for width in _WIDTHS_PX:
        spreads = [_spread(enlarge, scale, width, rng) for _ in range(_TRIALS)]
        known = [spread for spread in spreads if spread is not None]
        if len(known) == _TRIALS:
            radius = max(known)
            exact = not _cut_shows(enlarge, scale, radius, rng)
            return (
                ReceptiveField(radius, "measured")
                if exact
                else ReceptiveField(UNBOUNDED_HALO_PX, "unbounded")
            )
    return ReceptiveField(UNBOUNDED_HALO_PX, "unbounded")


def _spread(
    enlarge: Callable[[Floats], Floats], scale: int, width: int, rng: np.random.Generator
) -> int | None:
    """Source px from the changed column to the farthest changed output; ``None`` = to an end."""
    column = width // 2
    strip = rng.random((_HEIGHT_PX, width, 3), dtype=np.float32)
    other = strip.copy()
    other[:, column] = 1.0 - other[:, column]
    changed = np.flatnonzero((enlarge(strip) != enlarge(other)).any(axis=(0, 2)))
    if changed.size == 0:
        return 0
    first, last = int(changed[0]) // scale, int(changed[-1]) // scale
    if first == 0 or last == width - 1:
        return None
    return max(column - first, last - column)


def _cut_shows(
    enlarge: Callable[[Floats], Floats], scale: int, radius: int, rng: np.random.Generator
) -> bool:
    begin = 5
    strip = rng.random((_HEIGHT_PX, begin + radius + 64, 3), dtype=np.float32)
    whole = enlarge(strip)[:, (begin + radius) * scale :]
    part = enlarge(np.ascontiguousarray(strip[:, begin:]))[:, radius * scale :]
    return bool(np.abs(whole - part).max() > _SAME)
