"""Which convolutions are fastest on this CPU, torch's or ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import nn

from imgpipe.inference.cpu_speed import LEAST_GAIN, least_seconds
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.row_stream import Layer, stream
from imgpipe.upscaling.winograd import transformed_filter
from imgpipe.upscaling.winograd_stream import BandPlan, WinogradLayer, stream_tiles

#: ``backend``: direct, by torch.
Convolution = Literal["backend", "winograd", "amx"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LAYERS, _ROWS, _COLUMNS = 3, 64, 320


@cache
def fastest_convolution(precision: str, may_be_fp32: bool) -> Convolution:
    """What to compute a chain of 64 channels by in ``precision`` (fp32 or bf16).

    ``amx`` in bf16 wherever it can be used: torch's own bf16 is by the same unit then, and slower. Else
    ``winograd``, where fp32 may be used and it is at least a tenth faster than torch in ``precision``,
    measured once per process on a few layers with their activations. Else ``backend``.
    """
    if precision == "bf16" and amx_is_usable():
        return "amx"
    if not may_be_fp32:
        return "backend"
    with torch.inference_mode():
        seconds = least_seconds({"backend": _direct(_DTYPES[precision]), "winograd": _winograd()})
    return "winograd" if seconds["backend"] >= LEAST_GAIN * seconds["winograd"] else "backend"


def fastest_esrgan(precision: str) -> Convolution:
    """What to compute ESRGAN by: ``amx`` in bf16 wherever it can be used, else ``backend``."""
    return "amx" if precision == "bf16" and amx_is_usable() else "backend"


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
    numbers = rng.normal(0, 0.05, (_LAYERS, CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    quarter = np.full(CHANNELS, 0.25, np.float32)
    layers = [WinogradLayer(transformed_filter(weight), quarter, quarter) for weight in numbers]
    plan = BandPlan(_COLUMNS, _ROWS, _LAYERS, torch.get_num_threads())
    return lambda: _exhaust(stream_tiles(layers, lambda start, stop: pixels[start:stop], plan))


def _exhaust(parts: Iterator[object]) -> None:
    for _ in parts:
        pass
