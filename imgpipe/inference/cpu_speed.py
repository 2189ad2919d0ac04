"""What this CPU computes faster, found out by trying: its flags do not tell.

AVX512-BF16 was measured to multiply 2.2 times as fast as fp32 on an AMD EPYC, and 0.6 times as fast on an
Intel Xeon whose matrix unit (AMX) the hypervisor hides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache

#: A 3x3 convolution of 64 channels, as the networks have them: small enough for a few milliseconds.
_CHANNELS, _ROWS, _COLUMNS = 64, 32, 256
_TURNS = 4

#: How much faster a way must be measured to be taken for the one that is more precise or better known: less
#: is within what the machine's other work changes.
LEAST_GAIN = 1.1


def least_seconds(calls: Mapping[str, Callable[[], object]], turns: int = _TURNS) -> dict[str, float]:
    """The least seconds of each call; they take turns, after a first one that is not counted."""
    least = dict.fromkeys(calls, float("inf"))
    for turn in range(turns + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if turn:
                least[name] = min(least[name], time.perf_counter() - begin)
    return least


@cache
def bf16_speedup() -> float:
    """How many times as fast as in fp32 a convolution is in bf16 on this CPU; measured once per process.

    Needs torch.
    """
    import torch

    def convolution(dtype: torch.dtype) -> Callable[[], object]:
        layer = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1).requires_grad_(False)
        layer = layer.to(dtype).to(memory_format=torch.channels_last)
        pixels = torch.zeros((1, _CHANNELS, _ROWS, _COLUMNS), dtype=dtype)
        pixels = pixels.to(memory_format=torch.channels_last)
        return lambda: layer(pixels)

    with torch.inference_mode():
        seconds = least_seconds({"fp32": convolution(torch.float32), "bf16": convolution(torch.bfloat16)})
    return seconds["fp32"] / seconds["bf16"]
