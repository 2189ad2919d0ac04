"""A network by the matrix unit, with the same network in fp32 behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.cpu import compact, esrgan
from imgpipe.upscaling.network import Floats, Network, Strip
from imgpipe.upscaling.quantising_network import translated


class Loops(Protocol):
    """What the two architectures do differently."""

    @property
    def scale(self) -> int:
        """Output size / input size."""

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """(strip, whether all of it is finite) from top to bottom; see :meth:`Network.strips`."""

    def memory_model(self) -> MemoryModel:
        """What a window takes, px of the window to bytes."""


class MatrixNetwork:
    """An :class:`imgpipe.upscaling.network.Network` in bf16.

    ``full``: the same network in fp32, for windows in which something is not finite.
    """

    precision, device = "bf16", "cpu"

    def __init__(self, loops: Loops, full: Network) -> None:
        self._loops = loops
        self._full = full
        self._retries = 0

    @property
    def scale(self) -> int:
        return self._loops.scale

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`."""
        with translated(windows, self.device):
            for strip, finite in self._loops.strips(windows):
                if not finite:
                    break
                yield strip
            else:
                return
        self._retries += len(windows)
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


def matrix_network(module: nn.Module, full: Network) -> MatrixNetwork | None:
    """See :func:`imgpipe.upscaling.cpu.cpu_network`; None where there are no loops for ``module``."""
    if isinstance(module, Compact) and compact.fits(module):
        return MatrixNetwork(compact.CompactLoops(module), full)
    if isinstance(module, ESRGAN) and esrgan.fits(module):
        return MatrixNetwork(esrgan.EsrganLoops(module), full)
    return None
