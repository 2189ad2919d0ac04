"""A torch network whose output leaves the device as 16-bit levels, strip by strip."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from imgpipe.inference.failures import translated
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling.network import NATIVE_MAX, Floats, Strip


class QuantisingNetwork:
    """An :class:`imgpipe.upscaling.network.Network` around a :class:`TorchNetwork`.

    Levels and means are made where the network is: a CPU then works on rows that are still in its cache.
    """

    runtime = "torch"

    def __init__(self, inner: TorchNetwork) -> None:
        self.inner = inner
        self.scale, self.precision, self.device = inner.scale, inner.precision, inner.device.type

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`."""
        count, height, width, _ = windows.shape
        what = f"{count} window(s) of {width} x {height} px"
        steps: Iterator[tuple[int, Tensor]] | None = None
        while True:
            # Entered anew for each step: a mode held open over a yield would leak into the caller.
            with torch.inference_mode(), translated(what, self.device):
                steps = self.inner.strips(windows) if steps is None else steps
                step = next(steps, None)
                strip = None if step is None else strip_of_rows(*step, self.scale)
            if strip is None:
                return
            yield strip

    def memory_model(self) -> MemoryModel:
        """What a window takes."""
        return self.inner.memory_model()

    def take_retries(self) -> int:
        return self.inner.take_retries()

    def release_cached_memory(self) -> None:
        self.inner.release_cached_memory()


def strip_of_rows(start: int, values: Tensor, scale: int) -> Strip:
    """``values``: (n, rows * scale, width * scale, 3) float32; they are overwritten."""
    levels, mean = quantised(values, scale)
    return Strip(start, levels.cpu().numpy(), mean.cpu().numpy())


def quantised(values: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Levels and means, on the device."""
    count, height, width, _ = values.shape
    values.clamp_(0.0, 1.0)
    # Down the columns first: there whole rows are added, which is most of the work.
    columns = values.view(count, height // scale, scale, width * 3).sum(2)
    mean = columns.view(count, height // scale, width // scale, scale, 3).sum(3).div_(scale**2)
    return values.mul_(NATIVE_MAX).add_(0.5).to(torch.uint16), mean
