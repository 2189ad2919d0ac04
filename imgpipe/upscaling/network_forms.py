"""How the two Real-ESRGAN architectures are run: fp32 where it decides the result, little memory.

Both forms keep the first convolution in fp32: its input has 8 bits or more, of which bf16 keeps 8
significant ones. That one layer brings bf16 from 56.0 to 59.6 dB against fp32 (animevideov3 on a real
anime frame) for 5% of the arithmetic.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn

from imgpipe.upscaling.row_stream import Layer, can_stream, stream

#: Rows of source pixels that the tail of an RRDBNet needs beyond those it computes: its convolutions
#: reach 1/2 + 1/4 + 1/4 + 1/4 px at scale 4, and 2 px in the worst case, scale 1.
_TAIL_HALO_ROWS = 2

#: Source pixels whose features are enlarged at once. They take 64 channels x scale^2 each, ten times
#: what the trunk takes, so the tail and not the trunk would decide how large a tile may be.
_TAIL_PIXELS = {"cpu": 32_768, "cuda": 262_144}


class CompactForm(nn.Module):
    """SRVGGNetCompact with its nearest-neighbour base added in fp32, outside the low-precision part.

    The network is ``pixel_shuffle(body(x)) + nearest(x)``; what ``body`` gives is a small residual, so
    rounding it costs far less than rounding the sum. On a CPU the body runs in bands of rows.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, device_type: str) -> None:
        super().__init__()
        convolutions, activations = _pairs(copy.deepcopy(module.body))  # type: ignore[arg-type]
        self.factor = int(module.upscale)  # type: ignore[arg-type]
        _order_by_pixel(convolutions[-1], self.factor)
        for index, layer in enumerate([*convolutions, *activations]):
            layer.to(torch.float32 if index in (0, len(convolutions)) else dtype)
        self.convolutions = nn.ModuleList(convolutions)
        self.activations = nn.ModuleList(activations)
        self._in_bands = device_type == "cpu"

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows of the result as (n, 3, rows, width)) from top to bottom."""
        if not self._in_bands:
            yield 0, self._finished(self._body(pixels), pixels)
            return
        for start, residual in stream(self.layers(), pixels):
            yield start, self._finished(residual, pixels[:, :, start : start + residual.shape[2]])

    def _body(self, pixels: Tensor) -> Tensor:
        features = pixels
        for layer in self.layers():
            features = layer.convolution(features.to(layer.convolution.weight.dtype))
            if layer.activation is not None:
                features = layer.activation(features)
        return features

    def layers(self) -> list[Layer]:
        """The convolutions in their order; the last one's outputs in order of row, column, colour."""
        pairs = zip_longest(self.convolutions, self.activations)
        return [Layer(cast(nn.Conv2d, convolution), activation) for convolution, activation in pairs]

    def _finished(self, residual: Tensor, pixels: Tensor) -> Tensor:
        """``residual``: (n, factor^2 * 3, h, w), ordered by pixel; ``pixels``: (n, 3, h, w)."""
        count, _, height, width = residual.shape
        cells = residual.permute(0, 2, 3, 1).float()
        cells += pixels.permute(0, 2, 3, 1).repeat(1, 1, 1, self.factor**2)
        rows = cells.view(count, height, width, self.factor, self.factor * 3).transpose(2, 3)
        shape = (count, height * self.factor, width * self.factor, 3)
        return rows.reshape(shape).permute(0, 3, 1, 2)


class EsrganForm(nn.Module):
    """RRDBNet with its first and last convolution in fp32 and its tail computed in strips.

    The strips overlap by the tail's receptive field and end where the window ends, so they are exact.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, device_type: str) -> None:
        super().__init__()
        layers = list(copy.deepcopy(module.model))  # type: ignore[arg-type]
        self.entry = layers[0].float()
        self.trunk = layers[1].to(dtype)
        self.tail = nn.Sequential(*layers[2:-1]).to(dtype)
        self.exit = layers[-1].float()
        self.factor = int(module.scale)  # type: ignore[arg-type]
        self._dtype = dtype
        self._tail_pixels = _TAIL_PIXELS[device_type]

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows of the result as (n, 3, rows, width)) from top to bottom."""
        features = self.features(pixels)
        count, _, height, width = features.shape
        step = max(1, self._tail_pixels // (width * count))
        for start in range(0, height, step):
            stop = min(height, start + step)
            first, last = max(0, start - _TAIL_HALO_ROWS), min(height, stop + _TAIL_HALO_ROWS)
            strip = self.exit(self.tail(features[:, :, first:last]).float())
            yield start, strip[:, :, (start - first) * self.factor : (stop - first) * self.factor]

    def features(self, pixels: Tensor) -> Tensor:
        """What the trunk makes of (n, 3, h, w) float32: (n, 64, h, w)."""
        result: Tensor = self.trunk(self.entry(pixels).to(self._dtype))
        return result


def _pairs(layers: Iterable[nn.Module]) -> tuple[list[nn.Conv2d], list[nn.Module]]:
    """The convolutions of a body and the activations between them."""
    in_order = list(layers)
    return [layer for layer in in_order[0::2] if isinstance(layer, nn.Conv2d)], in_order[1::2]


def _order_by_pixel(convolution: nn.Conv2d, factor: int) -> None:
    """Reorder output channels from colour, row, column (pixel-shuffle's order) to row, column, colour."""
    order = torch.arange(3 * factor**2).view(3, factor**2).t().flatten()
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[order].clone())
        if convolution.bias is not None:
            convolution.bias.copy_(convolution.bias[order].clone())


def has_compact_form(module: nn.Module) -> bool:
    """Whether ``module`` is laid out as :class:`CompactForm` takes it apart (3 channels in and out)."""
    body = getattr(module, "body", None)
    channels = (getattr(module, "num_in_ch", 0), getattr(module, "num_out_ch", 0))
    return (
        isinstance(body, nn.ModuleList)
        and len(body) % 2 == 1
        and channels == (3, 3)
        and all(can_stream(layer) for layer in body[0::2])
        and not any(isinstance(layer, nn.Conv2d) for layer in body[1::2])
    )


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
