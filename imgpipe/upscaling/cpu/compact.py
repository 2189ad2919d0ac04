"""SRVGGNetCompact by the matrix unit, from float32 pictures to 16-bit levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import nn

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.cpu.band import MOST_FACTOR, AmxChain, BandPlan, stream_strips
from imgpipe.upscaling.cpu.compiled import CHANNELS
from imgpipe.upscaling.cpu.layers import Floats, aligned, aligned_copy, packed_filter
from imgpipe.upscaling.network import Strip
from imgpipe.upscaling.network_forms import CompactForm, Layer, has_compact_form


def fits(module: nn.Module) -> bool:
    """Whether :class:`CompactLoops` computes ``module``: 64 features, PReLU, scale 1 to 4."""
    if not has_compact_form(module):
        return False
    layers = list(module.body)  # type: ignore[arg-type]
    convolutions, activations = layers[0::2], layers[1::2]
    return (
        len(convolutions) >= 3
        and all(layer.in_channels == CHANNELS for layer in convolutions[1:])
        and all(layer.out_channels == CHANNELS for layer in convolutions[:-1])
        and convolutions[-1].out_channels <= 3 * MOST_FACTOR**2
        and all(isinstance(layer, nn.PReLU) for layer in activations)
    )


class CompactLoops:
    """SRVGGNetCompact: first layer, sums and last layer in float32, what lies between layers in bf16."""

    def __init__(self, module: nn.Module) -> None:
        form = CompactForm(module, torch.float32, "cpu")
        self._chain = _chain(form.layers(), form.factor)
        self.scale = form.factor

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """(strip of all windows, whether it is finite) from top to bottom."""
        count, height, width, _ = windows.shape
        plan = self._plan(width, height)
        each = [stream_strips(self._chain, windows[index], plan) for index in range(count)]
        for together in zip(*each, strict=True):
            strips = [strip for strip, _ in together]
            merged = strips[0]
            if count > 1:
                levels = np.concatenate([strip.levels for strip in strips])
                merged = Strip(merged.start, levels, np.concatenate([strip.mean for strip in strips]))
            yield merged, all(finite for _, finite in together)

    def _plan(self, width: int, height: int) -> BandPlan:
        return BandPlan(width, height, self._chain.layers, torch.get_num_threads())

    def memory_model(self) -> MemoryModel:
        """What a window takes."""

        def peak_bytes(width: int, height: int) -> int:
            plan = self._plan(width, height)
            return plan.bytes + (6 * self.scale**2 + 4 * 3 + 4 * 3) * width * height

        return MemoryModel.of_peaks(peak_bytes)


def _chain(layers: list[Layer], factor: int) -> AmxChain:
    first, *others = (layer.convolution for layer in layers)
    filters = aligned_copy(np.stack([packed_filter(_numbers(convolution.weight)) for convolution in others]))
    bias, slope = aligned((2, len(layers), CHANNELS), np.float32)
    slope[:] = 1
    for index, layer in enumerate(layers):
        if layer.convolution.bias is not None:
            bias[index, : layer.convolution.out_channels] = _numbers(layer.convolution.bias)
        if layer.activation is not None:
            slope[index] = _numbers(cast(nn.PReLU, layer.activation).weight)
    by_tap = aligned_copy(_numbers(first.weight).transpose(2, 3, 1, 0).ravel())
    return AmxChain(by_tap, filters, bias, slope, factor)


def _numbers(values: torch.Tensor) -> Floats:
    numbers: Floats = values.detach().numpy()
    return numbers
