"""SRVGGNetCompact in bf16 on a CPU with a matrix unit, from float32 pictures to 16-bit levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import nn

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.amx import aligned, packed_filter
from imgpipe.upscaling.amx_band import AmxChain, BandPlan, stream_strips
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.network import Floats, Network, Strip
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.quantising_network import translated
from imgpipe.upscaling.row_stream import Layer


class AmxNetwork:
    """An :class:`imgpipe.upscaling.network.Network`: the first layer, the sums and the last layer in float32.

    ``full``: the same network in fp32, for windows in which something is not finite. Raises RuntimeError
    without a matrix unit.
    """

    precision, device = "bf16", "cpu"

    def __init__(self, module: nn.Module, full: Network) -> None:
        if not amx_is_usable():
            raise RuntimeError("expected AMX-BF16 in CPU, kernel and compiler; ask amx_is_usable() first")
        form = CompactForm(module.requires_grad_(False), torch.float32, "cpu")
        self._chain = _chain(form.layers(), form.factor)
        self._full = full
        self._retries = 0

    @property
    def scale(self) -> int:
        return self._chain.factor

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`."""
        with translated(windows, self.device):
            for strip, finite in self._strips(windows):
                if not finite:
                    break
                yield strip
            else:
                return
        self._retries += len(windows)
        yield from self._full.strips(windows)

    def _strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
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

    def take_retries(self) -> int:
        """See :meth:`imgpipe.upscaling.network.Network.take_retries`."""
        count, self._retries = self._retries, 0
        return count

    def release_cached_memory(self) -> None:
        """Nothing is kept."""


def _chain(layers: list[Layer], factor: int) -> AmxChain:
    first, *others = (layer.convolution for layer in layers)
    weights = [packed_filter(_numbers(convolution.weight)) for convolution in others]
    bias, slope = aligned((2, len(layers), CHANNELS), np.float32)
    slope[:] = 1
    for index, layer in enumerate(layers):
        if layer.convolution.bias is not None:
            bias[index, : layer.convolution.out_channels] = _numbers(layer.convolution.bias)
        if layer.activation is not None:
            slope[index] = _numbers(cast(nn.PReLU, layer.activation).weight)
    by_tap = aligned((27 * CHANNELS,), np.float32)
    by_tap[:] = _numbers(first.weight).transpose(2, 3, 1, 0).ravel()
    filters = aligned((len(weights), len(weights[0])), np.uint16)
    filters[:] = weights
    return AmxChain(by_tap, filters, bias, slope, factor)


def _numbers(values: torch.Tensor) -> Floats:
    numbers: Floats = values.detach().numpy()
    return numbers
