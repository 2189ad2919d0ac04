"""How far a network looks: the halo that exact tiles need, computed from the network itself.

For plain convolutional networks it is a sum. For the others one pixel is made NaN: NaN spreads through
every operation that reads it, so the outputs that turn NaN are exactly those that depend on the pixel,
however small its weight is there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imgpipe.upscaling.network import UNBOUNDED_HALO_PX, ReceptiveField

_PROBE_WIDTHS_PX = (64, 128, 256)
_PROBE_HEIGHT_PX = 64

#: Rounding differs with a window's shape; a real difference is far above, an 8-bit level is 4e-3.
_SAME = 1e-3


def of_convolutions(module: nn.Module) -> ReceptiveField:
    """Sum over all ``Conv2d`` of dilation * (kernel - 1) / 2, each at the resolution it works on.

    Holds for networks whose convolutions follow one another and that otherwise only use pointwise
    operations, nearest-neighbour enlargement and pixel-shuffle; where branches run in parallel it is an
    upper bound. SRVGGNetCompact with 16 inner convolutions: 18 px. RRDBNet with 6 blocks at scale 4:
    1 + 6 * 15 + 1 + 1/2 + 1/4 + 1/4 + 1/4 = 93.25, so 94 px.
    """
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


def measure(network: Callable[[Tensor], Tensor], scale: int, *, multiple_of: int = 1) -> ReceptiveField:
    """Make one column NaN and see how far it spreads; on strips of 64, 128, then 256 px.

    ``network``: (1, 3, h, w) float32 -> (1, 3, h * scale, w * scale). Windows of attention make the reach
    depend on the position, so the column is tried at every offset within ``multiple_of`` (at most 8), and
    a strip is compared with the same strip cut elsewhere.
    """
    for width in _PROBE_WIDTHS_PX:
        offsets = range(0, multiple_of, max(1, multiple_of // 8))
        radii = [_spread(network, scale, width, width // 2 + offset) for offset in offsets]
        known = [radius for radius in radii if radius is not None]
        if len(known) == len(radii):
            radius = max(known)
            if _cut_shows(network, scale, radius, multiple_of):
                break
            return ReceptiveField(radius, "measured")
    return ReceptiveField(UNBOUNDED_HALO_PX, "unbounded")


def _cut_shows(network: Callable[[Tensor], Tensor], scale: int, radius: int, multiple_of: int) -> bool:
    """Whether a strip that begins 5 steps later differs beyond ``radius``.

    It does for networks that lay a grid of attention windows from the picture's corner.
    """
    begin = 5 * multiple_of
    generator = torch.Generator().manual_seed(1)
    strip = torch.rand((1, 3, _PROBE_HEIGHT_PX, begin + radius + 64), generator=generator)
    whole = network(strip)[..., (begin + radius) * scale :]
    part = network(strip[..., begin:])[..., radius * scale :]
    return bool((whole - part).abs().max() > _SAME)


def _spread(network: Callable[[Tensor], Tensor], scale: int, width: int, column: int) -> int | None:
    """Source px that NaN travels from ``column``; ``None`` where it reaches the strip's end."""
    generator = torch.Generator().manual_seed(0)
    strip = torch.rand((1, 3, _PROBE_HEIGHT_PX, width), generator=generator)
    strip[..., column] = math.nan
    touched = network(strip).isnan().flatten(0, 2).any(dim=0).nonzero().flatten()
    if len(touched) == 0:
        return 0
    first, last = int(touched[0]) // scale, int(touched[-1]) // scale
    if first == 0 or last == width - 1:
        return None
    return max(column - first, last - column)
