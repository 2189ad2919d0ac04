"""The two Real-ESRGAN architectures taken apart: fp32 where it decides the result, and little memory.

torch runs a network as one module, a *form*, in strips of rows. A runtime that converts whole modules gets
the same network as :class:`Parts`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn

from imgpipe.upscaling.network import WHOLE, Strips

#: Rows of source pixels that the tail of an RRDBNet needs beyond those it computes: its convolutions
#: reach 1/2 + 1/4 + 1/4 + 1/4 px at scale 4, and 2 px in the worst case, scale 1.
_TAIL_HALO_ROWS = 2

#: Source pixels whose features are enlarged at once. They take 64 channels x scale^2 each, ten times
#: what the trunk takes, so the tail and not the trunk would decide how large a tile may be.
_TAIL_PIXELS = {"cpu": 32_768, "cuda": 262_144}


@dataclass(frozen=True, slots=True)
class Layer:
    """A 3x3 convolution with stride 1 and padding 1, and what follows it on each pixel by itself."""

    convolution: nn.Conv2d
    activation: nn.Module | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """A float32 network as modules that run one after another, (n, c, h, w) each.

    ``whole``: (module, whether it stays in fp32) on the whole window, from (n, 3, h, w) on. ``tail``: gives
    (n, 3, h * scale, w * scale), in strips as ``cut`` says.
    """

    tail: nn.Module
    whole: tuple[tuple[nn.Module, bool], ...] = ()
    cut: Strips = WHOLE


class CompactForm(nn.Module):
    """SRVGGNetCompact with its nearest-neighbour base added in fp32, outside the low-precision part.

    The network is ``pixel_shuffle(body(x)) + nearest(x)``; what ``body`` gives is a small residual, so
    rounding it costs far less than rounding the sum. The first convolution is in fp32 too: its input has 8
    bits or more, of which bf16 keeps 8 significant ones (56.0 to 59.6 dB against fp32 on a real anime frame).
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

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """One strip: (0, the result as (n, 3, h * factor, w * factor))."""
        features = pixels
        for layer in self.layers():
            features = layer.convolution(features.to(layer.convolution.weight.dtype))
            if layer.activation is not None:
                features = layer.activation(features)
        yield 0, self._finished(features, pixels)

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


class _CompactModule(nn.Module):
    """SRVGGNetCompact whose base is repeated pixels.

    OpenVINO would compute the network's own nearest-neighbour interpolation in bf16 (58.5 dB against fp32 on
    a real anime frame, 60.7 so).
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.body = cast(nn.ModuleList, module.body)
        self.factor = int(module.upscale)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 3, h * factor, w * factor)."""
        features = pixels
        for layer in self.body:
            features = layer(features)
        residual = nn.functional.pixel_shuffle(features, self.factor)
        base = pixels[:, :, :, None, :, None].expand(-1, -1, -1, self.factor, -1, self.factor)
        return residual + base.reshape(residual.shape)


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
        self._parts = Parts(
            nn.Sequential(self.tail, self.exit),
            ((self.entry, True), (self.trunk, False)),
            Strips(_TAIL_PIXELS[device_type], _TAIL_HALO_ROWS),
        )

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows of the result as (n, 3, rows, width)) from top to bottom."""
        features = self.trunk(self.entry(pixels).to(self._dtype))
        count, _, height, width = features.shape
        for start, stop, first, last in self._parts.cut.of(height, width * count):
            strip = self.exit(self.tail(features[:, :, first:last]).float())
            yield start, strip[:, :, (start - first) * self.factor : (stop - first) * self.factor]

    def parts(self) -> Parts:
        """Its layers for another runtime; the form has to be in float32."""
        return self._parts


def parts_of(module: nn.Module) -> Parts:
    """What a runtime that converts modules is given of ``module`` (n, 3, h, w) -> (n, 3, h * s, w * s)."""
    if has_compact_form(module):
        return Parts(_CompactModule(module))
    if has_esrgan_form(module):
        return EsrganForm(module, torch.float32, "cpu").parts()
    return Parts(module)


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


def is_3x3(convolution: object) -> bool:
    """Whether ``convolution`` is one that :class:`Layer` describes."""
    if not isinstance(convolution, nn.Conv2d):
        return False
    shape = (convolution.kernel_size, convolution.stride, convolution.padding, convolution.dilation)
    return (
        shape == ((3, 3), (1, 1), (1, 1), (1, 1))
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
    )


def has_compact_form(module: nn.Module) -> bool:
    """Whether ``module`` is laid out as :class:`CompactForm` takes it apart (3 channels in and out)."""
    body = getattr(module, "body", None)
    channels = (getattr(module, "num_in_ch", 0), getattr(module, "num_out_ch", 0))
    return (
        isinstance(body, nn.ModuleList)
        and len(body) % 2 == 1
        and channels == (3, 3)
        and all(is_3x3(layer) for layer in body[0::2])
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
