"""Arrays through a queue of pictures, and what comes of them as one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imgpipe.upscaling.network import Floats, Native
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.tile_runner import Enlarged


class ArrayInput:
    """A picture that is there."""

    def __init__(self, colour: Floats) -> None:
        self._colour, self.shape = colour, (*colour.shape[:2], 3)

    def __getitem__(self, part: tuple[slice, slice]) -> Floats:
        return self._colour[part]

    def alpha(self, rows: slice) -> None:
        pass


@dataclass
class Result:
    """How it came about, and the levels put together."""

    enlarged: Enlarged
    levels: Native


def enlarge(queue: NetworkQueue, colour: Floats, scale: int) -> Result:
    """``colour``: (h, w, 3) in 0..1."""
    parts: list[Native] = []

    def take(first: int, levels: Native, mean: Floats) -> None:
        if first == 0:
            parts.clear()
        assert first * scale == sum(len(part) for part in parts)
        assert mean.shape == (len(levels) // scale, *colour.shape[1:])
        parts.append(levels)

    return Result(queue.enlarge(ArrayInput(colour), take), np.concatenate(parts))
