"""Arrays through a queue of pictures, and what comes of them as one array."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from imgpipe.upscaling.network import Answer, Floats, Native
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


@dataclass
class Parts:
    """Takes rows as they come; nothing can be finished elsewhere."""

    scale: int
    levels: list[Native] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    finishing = None

    def take(self, first: int, levels: Native, mean: Floats) -> None:
        if first == 0:
            self.levels.clear()
        assert first * self.scale == sum(len(part) for part in self.levels)
        assert mean.shape == (len(levels) // self.scale, levels.shape[1] // self.scale, 3)
        self.levels.append(levels)
        self.firsts.append(first)

    def take_finished(self, answer: Answer) -> None:
        raise AssertionError("nobody asked for it")


def enlarge(queue: NetworkQueue, colour: Floats, scale: int) -> Result:
    """``colour``: (h, w, 3) in 0..1."""
    parts = Parts(scale)
    return Result(queue.enlarge(ArrayInput(colour), parts), np.concatenate(parts.levels))
