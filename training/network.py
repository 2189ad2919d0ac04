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
    """(n, 3, h, w) RGB in 0..1 -> (n, 3, h * scale, w * scale), not clipped.

    At scale 1 a fourth channel of the input is how strong the damage is, 0..1, the same everywhere; it
    multiplies the change, so that 0 leaves the picture as it is. The first convolution is of 6x6 px and
    halves the size, which must be even: a 3x3 one of 2x2 px folded into channels.
    """

    def __init__(self, scale: int, features: int = 32, depth: int = 10) -> None:
        super().__init__()
        self.scale, self.features, self.depth = scale, features, depth
        #: Edge of the px that one place of the body's output holds.
        self.cell = 2 if scale == 1 else scale
        first = nn.Conv2d(3, features, 3, padding=1)
        if scale == 1:
            first = nn.Conv2d(4, features, 6, stride=2, padding=2)
        layers: list[nn.Module] = [first, nn.LeakyReLU(SLOPE, inplace=True)]
        for _ in range(depth):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers, nn.Conv2d(features, 3 * self.cell**2, 3, padding=1))
        self._initialise()

    def forward(self, small: Tensor) -> Tensor:
        base = functional.interpolate(small[:, :3], scale_factor=self.scale)
        return base + functional.pixel_shuffle(self.detail(small), self.cell)

    def detail(self, small: Tensor) -> Tensor:
        """What is added, (n, 3 * cell**2, h, w), before the pixel shuffle."""
        detail: Tensor = self.body(small)
        return detail * small[:, 3:, ::2, ::2] if self.scale == 1 else detail

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
        """Start as bilinear enlargement: features carry RGB to the end, where the others add little."""
        carried = min(12, self.features) if self.scale == 1 else 3
        convolutions = [layer for layer in self.body if isinstance(layer, nn.Conv2d)]
        identity = range(self.features)
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            layer.get_parameter("bias").data.zero_()
        for layer in convolutions[1:-1]:
            layer.weight.data.mul_(0.3)
            layer.weight.data[identity, identity, 1, 1] += 1.0
        for layer in convolutions[:-1]:
            layer.weight.data[:carried] = 0.0
            for feature in range(carried):
                layer.weight.data[(feature, *_carried_from(feature, layer))] = 1.0
        last = convolutions[-1].weight.data
        last.mul_(0.01)
        last[:, :carried] = 0.0 if self.scale == 1 else _bilinear_less_nearest(self.scale)


def _carried_from(feature: int, layer: nn.Conv2d) -> tuple[int, int, int]:
    """Channel and tap that ``feature`` is a copy of: itself, or a px of the four that are folded."""
    if layer.stride == (1, 1):
        return feature, 1, 1
    return feature // 4, 2 + feature // 2 % 2, 2 + feature % 2


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
