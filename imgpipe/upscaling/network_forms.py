"""How the two Real-ESRGAN architectures are run: fp32 where it decides the result, little memory.

Both forms keep the first convolution in fp32: its input has 8 bits or more, of which bf16 keeps 8
significant ones. That one layer brings bf16 from 56.0 to 59.6 dB against fp32 (animevideov3 on a real
anime frame) for 5% of the arithmetic.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

#: Rows of source pixels that the tail of an RRDBNet needs beyond those it computes: its convolutions
#: reach 1/2 + 1/4 + 1/4 + 1/4 px at scale 4, and 2 px in the worst case, scale 1.
_TAIL_HALO_ROWS = 2

#: Source pixels whose features are enlarged at once. They take 64 channels x scale^2 each, ten times
#: what the trunk takes, so the tail and not the trunk would decide how large a tile may be.
_TAIL_PIXELS = {"cpu": 32_768, "cuda": 262_144}


class CompactForm(nn.Module):
    """SRVGGNetCompact with its nearest-neighbour base added in fp32, outside the low-precision part.

    The network is ``pixel_shuffle(body(x)) + nearest(x)``; what ``body`` gives is a small residual, so
    rounding it costs far less than rounding the sum.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        layers = list(copy.deepcopy(module.body))  # type: ignore[arg-type]
        self.entry = layers[0].float()
        self.body = nn.Sequential(*layers[1:]).to(dtype)
        self.factor = int(module.upscale)  # type: ignore[arg-type]
        self._dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.body(self.entry(pixels).to(self._dtype))
        result = nn.functional.pixel_shuffle(features, self.factor).float()
        return result.add_(nn.functional.interpolate(pixels, scale_factor=self.factor, mode="nearest"))


class EsrganForm(nn.Module):
    """RRDBNet with its first and last convolution in fp32 and its tail computed in strips.

    The strips overlap by the tail's receptive field and end where the window ends, so they are exact.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        layers = list(copy.deepcopy(module.model))  # type: ignore[arg-type]
        self.entry = layers[0].float()
        self.trunk = layers[1].to(dtype)
        self.tail = nn.Sequential(*layers[2:-1]).to(dtype)
        self.exit = layers[-1].float()
        self.factor = int(module.scale)  # type: ignore[arg-type]
        self._dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.trunk(self.entry(pixels).to(self._dtype))
        height, width = features.shape[-2:]
        rows = max(1, _TAIL_PIXELS.get(pixels.device.type, 32_768) // width)
        strips = []
        for start in range(0, height, rows):
            stop = min(height, start + rows)
            first, last = max(0, start - _TAIL_HALO_ROWS), min(height, stop + _TAIL_HALO_ROWS)
            strip = self.exit(self.tail(features[:, :, first:last]).float())
            strips.append(strip[:, :, (start - first) * self.factor : (stop - first) * self.factor])
        return torch.cat(strips, dim=2)


def has_compact_form(module: nn.Module) -> bool:
    """Whether ``module`` is laid out as :class:`CompactForm` takes it apart (3 channels in and out)."""
    body = getattr(module, "body", None)
    channels = (getattr(module, "num_in_ch", 0), getattr(module, "num_out_ch", 0))
    return isinstance(body, nn.ModuleList) and isinstance(body[0], nn.Conv2d) and channels == (3, 3)


def has_esrgan_form(module: nn.Module) -> bool:
    """Whether ``module`` is laid out as :class:`EsrganForm` takes it apart (no pixel-unshuffle first)."""
    layers = getattr(module, "model", None)
    return (
        isinstance(layers, nn.Sequential)
        and len(layers) >= 5
        and isinstance(layers[0], nn.Conv2d)
        and isinstance(layers[-1], nn.Conv2d)
        and getattr(module, "shuffle_factor", None) is None
    )
