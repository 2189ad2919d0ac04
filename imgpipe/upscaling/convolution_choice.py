"""Which convolutions are fastest on this CPU, torch's or ours: measured, as it hangs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import nn

from imgpipe.inference.cpu_speed import LEAST_GAIN, least_seconds
from imgpipe.upscaling.amx import packed_filter
from imgpipe.upscaling.amx_band import AmxChain, stream_strips
from imgpipe.upscaling.amx_band import BandPlan as AmxBandPlan
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.row_stream import Layer, stream
from imgpipe.upscaling.winograd import transformed_filter
from imgpipe.upscaling.winograd_stream import BandPlan, WinogradLayer, stream_tiles

#: ``backend``: direct, by torch.
Convolution = Literal["backend", "winograd", "amx"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
#: As many layers as the networks have: what a picture costs besides is then seen as it is there.
_LAYERS, _ROWS, _COLUMNS = 16, 32, 320


@cache
def fastest_convolution(precision: str, may_be_fp32: bool) -> Convolution:
    """What to compute a chain of 64 channels by in ``precision`` (fp32 or bf16).

    ``amx`` is tried in bf16 where the CPU has it, else ``winograd``, which is in fp32, where that may be
    used as well. ``backend`` unless the other is at least a tenth faster. Measured once per process, on a
    small picture.
    """
    if precision == "bf16" and amx_is_usable():
        return _faster(precision, "amx", _amx())
    if may_be_fp32:
        return _faster(precision, "winograd", _winograd())
    return "backend"


def _faster(precision: str, name: Convolution, call: Callable[[], None]) -> Convolution:
    with torch.inference_mode():
        seconds = least_seconds({"backend": _direct(_DTYPES[precision]), name: call})
    return name if seconds["backend"] >= LEAST_GAIN * seconds[name] else "backend"


def _direct(dtype: torch.dtype) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    layers = []
    for _ in range(_LAYERS):
        convolution = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).requires_grad_(False)
        convolution.weight.normal_(0, 0.05, generator=generator)
        convolution = convolution.to(dtype).to(memory_format=torch.channels_last)
        layers.append(Layer(convolution, nn.PReLU(CHANNELS).requires_grad_(False).to(dtype)))
    pixels = torch.rand((1, CHANNELS, _ROWS, _COLUMNS), generator=generator)
    pixels = pixels.to(dtype).to(memory_format=torch.channels_last)
    return lambda: _exhaust(stream(layers, pixels))


def _winograd() -> Callable[[], None]:
    rng = np.random.default_rng(0)
    pixels = rng.random((_ROWS, _COLUMNS, CHANNELS), np.float32)
    quarter = np.full(CHANNELS, 0.25, np.float32)
    layers = [WinogradLayer(transformed_filter(weight), quarter, quarter) for weight in _weights(rng)]
    plan = BandPlan(_COLUMNS, _ROWS, _LAYERS, torch.get_num_threads())
    return lambda: _exhaust(stream_tiles(layers, lambda start, stop: pixels[start:stop], plan))


def _amx() -> Callable[[], None]:
    rng = np.random.default_rng(0)
    window = rng.random((_ROWS, _COLUMNS, 3), np.float32)
    filters = np.stack([packed_filter(weight) for weight in _weights(rng)])
    quarter = np.full((_LAYERS + 1, CHANNELS), 0.25, np.float32)
    first = rng.normal(0, 0.2, 27 * CHANNELS).astype(np.float32)
    chain = AmxChain(first, filters, quarter, quarter, factor=4)
    plan = AmxBandPlan(_COLUMNS, _ROWS, chain.layers, torch.get_num_threads())
    return lambda: _exhaust(stream_strips(chain, window, plan))


def _weights(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return rng.normal(0, 0.05, (_LAYERS, CHANNELS, CHANNELS, 3, 3)).astype(np.float32)


def _exhaust(parts: Iterator[object]) -> None:
    for _ in parts:
        pass
