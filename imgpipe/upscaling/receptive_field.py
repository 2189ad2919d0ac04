"""How far a network looks: the halo that exact tiles need.

For plain convolutional networks it is a sum. For the others one column of the input is changed: the outputs
that change depend on it. Where a network passes NaN on, the column is made NaN, which spreads through every
operation that reads it, however small its weight; for the others a change below the rounding of float32 (or
of the 8 bits that some return) is not seen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from imgpipe.upscaling.network import UNBOUNDED_HALO_PX, Floats, ReceptiveField

if TYPE_CHECKING:
    from torch import Tensor, nn

#: (h, w, 3) float32 in 0..1 -> (h * scale, w * scale, 3).
Enlarge = Callable[[Floats], Floats]

_WIDTHS_PX = (64, 128, 256)
_HEIGHT_PX = 64

#: Strips that a change is tried on; NaN needs one.
_TRIALS = 3

#: Rounding differs with a window's shape; a real difference is far above, an 8-bit level is 4e-3.
_SAME = 1e-3


def of_convolutions(module: nn.Module) -> ReceptiveField:
    """Sum over all ``Conv2d`` of dilation * (kernel - 1) / 2, each at the resolution it works on.

    Holds for networks whose convolutions follow one another and that otherwise only use pointwise
    operations, nearest-neighbour enlargement and pixel-shuffle; where branches run in parallel it is an
    upper bound. SRVGGNetCompact with 16 inner convolutions: 18 px. RRDBNet with 6 blocks at scale 4:
    1 + 6 * 15 + 1 + 1/2 + 1/4 + 1/4 + 1/4 = 93.25, so 94 px.
    """
    import torch
    from torch import nn

    shadow = copy.deepcopy(module).to("meta")
    size = 64
    reach = 0.0

    def add(conv: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        nonlocal reach
        if not isinstance(conv, nn.Conv2d):  # only those are hooked
            return
        resolution = inputs[0].shape[-1] / size
        reach += int(conv.dilation[1]) * (int(conv.kernel_size[1]) - 1) / 2 / resolution

    hooks = [m.register_forward_hook(add) for m in shadow.modules() if isinstance(m, nn.Conv2d)]
    with torch.inference_mode():
        shadow(torch.empty((1, 3, size, size), device="meta"))
    for hook in hooks:
        hook.remove()
    return ReceptiveField(math.ceil(reach), "computed")


def measure(
    enlarge: Enlarge, scale: int, *, multiple_of: int = 1, passes_nan: bool = False
) -> ReceptiveField:
    """How far the change of a column spreads; on strips of 64, 128, then 256 px.

    ``passes_nan``: the network takes NaN and passes it on. Windows of attention make the reach depend on the
    position, so the column is tried at every offset within ``multiple_of`` (at most 8). Where the change
    reaches the strips' ends, or a strip cut elsewhere differs beyond the reach, the field is unbounded.
    """
    rng = np.random.default_rng(0)
    for width in _WIDTHS_PX:
        radius = 0
        for column in _columns(width, multiple_of, 1 if passes_nan else _TRIALS):
            strip = rng.random((_HEIGHT_PX, width, 3), np.float32)
            spread = _spread(enlarge, scale, strip, column, passes_nan)
            if spread is None:
                break
            radius = max(radius, spread)
        else:
            if _cut_shows(enlarge, scale, radius, multiple_of, rng):
                break
            return ReceptiveField(radius, "measured")
    return ReceptiveField(UNBOUNDED_HALO_PX, "unbounded")


def _columns(width: int, multiple_of: int, trials: int) -> Iterator[int]:
    for offset in range(0, multiple_of, max(1, multiple_of // 8)):
        yield from [width // 2 + offset] * trials


def _spread(enlarge: Enlarge, scale: int, strip: Floats, column: int, passes_nan: bool) -> int | None:
    """Source px from ``column`` to the farthest output that it changes; ``None``: to an end of the strip."""
    other = strip.copy()
    other[:, column] = np.nan if passes_nan else 1.0 - other[:, column]
    touched = np.isnan(enlarge(other)) if passes_nan else enlarge(strip) != enlarge(other)
    changed = np.flatnonzero(touched.any(axis=(0, 2)))
    if changed.size == 0:
        return 0
    first, last = int(changed[0]) // scale, int(changed[-1]) // scale
    if first == 0 or last == strip.shape[1] - 1:
        return None
    return max(column - first, last - column)


def _cut_shows(enlarge: Enlarge, scale: int, radius: int, multiple_of: int, rng: np.random.Generator) -> bool:
    """Whether a strip that begins 5 steps later differs beyond ``radius``.

    It does for networks that lay a grid of attention windows from the picture's corner.
    """
    begin = 5 * multiple_of
    strip = rng.random((_HEIGHT_PX, begin + radius + 64, 3), dtype=np.float32)
    whole = enlarge(strip)[:, (begin + radius) * scale :]
    part = enlarge(np.ascontiguousarray(strip[:, begin:]))[:, radius * scale :]
    return bool(np.abs(whole - part).max() > _SAME)
