"""A network whose results are checked, with the same network in fp32 behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from imgpipe.inference.failures import not_finite, translated
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.network import Floats, Network, Strip


class Loops(Protocol):
    """What computes the strips."""

    @property
    def scale(self) -> int:
        """Output size / input size."""

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """(strip, whether all of it is finite) from top to bottom; see :meth:`Network.strips`."""

    def memory_model(self) -> MemoryModel:
        """What a window takes."""


class CheckedNetwork:
    """An :class:`imgpipe.upscaling.network.Network` around ``loops``, which are computed by ``runtime``.

    ``full``: the same network in fp32, for windows in which something is not finite.
    """

    def __init__(
        self, loops: Loops, runtime: str, precision: str, full: Network | None = None, *, device: str = "cpu"
    ) -> None:
        self.scale = loops.scale
        self.device = device
        self.runtime = runtime
        self._loops = loops
        self.precision = precision
        self._full = full
        self._retries = 0

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`."""
        count, height, width, _ = windows.shape
        with translated(f"{count} window(s) of {width} x {height} px", self.device):
            for strip, finite in self._loops.strips(windows):
                if not finite:
                    break
                yield strip
            else:
                return
        if self._full is None:
            raise not_finite(self.precision)
        self._retries += count
        yield from self._full.strips(windows)

    def memory_model(self) -> MemoryModel:
        """What a window takes."""
        return self._loops.memory_model()

    def take_retries(self) -> int:
        """See :meth:`imgpipe.upscaling.network.Network.take_retries`."""
        count, self._retries = self._retries, 0
        return count

    def release_cached_memory(self) -> None:
        """Does nothing: no memory is kept between calls."""
