"""The network: SRVGGNetCompact as Real-ESRGAN defines it, so that whatever loads that loads these weights.

Wang et al., Real-ESRGAN (2021): convolutions at the source's size, a pixel shuffle, the nearest neighbour.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Slope of every activation below 0: fixed, which trains twice as fast, and stored as PReLU's.
SLOPE = 0.1


class Compact(nn.Module):
    """(n, 3, h, w) RGB in 0..1 -> (n, 3, h * scale, w * scale), not clipped."""

    def __init__(self, scale: int, features: int = 32, depth: int = 10) -> None:
        super().__init__()
        self.scale, self.features, self.depth = scale, features, depth
        layers: list[nn.Module] = []
        for inputs in (3, *[features] * depth):
            layers += [nn.Conv2d(inputs, features, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers, nn.Conv2d(features, 3 * scale**2, 3, padding=1))
        self._initialise()

    def forward(self, small: Tensor) -> Tensor:
        detail = functional.pixel_shuffle(self.body(small), self.scale)
        return functional.interpolate(small, scale_factor=self.scale) + detail

    def weights(self) -> dict[str, Tensor]:
        """The weights with SRVGGNetCompact's names and shapes, fp32, in memory of their own."""
        named = {
            f"body.{name}": value.detach().float().clone() for name, value in self.body.named_parameters()
        }
        for number in range(1, 2 * self.depth + 2, 2):
            named[f"body.{number}.weight"] = torch.full((self.features,), SLOPE)
        return dict(sorted(named.items(), key=lambda item: int(item[0].split(".")[1])))

    def load_weights(self, named: dict[str, Tensor]) -> None:
        """The opposite of :meth:`weights`. Slopes are not taken."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(named[name])

    def _initialise(self) -> None:
        """Start as bilinear enlargement: three features carry RGB to the end, where the others add little."""
        convolutions = [layer for layer in self.body if isinstance(layer, nn.Conv2d)]
        identity = range(self.features)
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            layer.get_parameter("bias").data.zero_()
        for layer in convolutions[1:-1]:
            layer.weight.data.mul_(0.3)
            layer.weight.data[identity, identity, 1, 1] += 1.0
        for layer in convolutions[:-1]:
            layer.weight.data[:3] = 0.0
            layer.weight.data[range(3), range(3), 1, 1] = 1.0
        last = convolutions[-1].weight.data
        last.mul_(0.01)
        last[:, :3] = _bilinear_less_nearest(self.scale)


def _bilinear_less_nearest(scale: int) -> Tensor:
    """Weights (3 * scale**2, 3, 3, 3) that turn the nearest neighbour into the bilinear enlargement."""
    offset = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = torch.stack([(-offset).clamp(min=0), 1 - offset.abs(), offset.clamp(min=0)], dim=1)
    kernels = (taps[:, None, :, None] * taps[None, :, None, :]).reshape(-1, 3, 3)
    kernels[:, 1, 1] -= 1.0
    weights = torch.zeros(3, scale**2, 3, 3, 3)
    for channel in range(3):
        weights[channel, :, channel] = kernels
    return weights.flatten(0, 1)
