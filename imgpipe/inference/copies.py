"""Copies between the host and a device beside what the device computes, in a ring that is bounded.

Imported only where a network runs: this module loads torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor


class Mark(Protocol):
    """A moment in what a device was told to do."""

    def synchronize(self) -> None:
        """Wait until the device is there."""

    def elapsed_time(self, later: Any, /) -> float:
        """Milliseconds from here to ``later``, both reached."""


class Ring:
    """Bytes that were sent and not yet let go by who reads them: ``bound_bytes`` at most, or one piece."""

    def __init__(self, bound_bytes: int) -> None:
        self.used_bytes = 0
        self._bound = bound_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int) -> None:
        """Wait for room."""
        with self._changed:
            while self.used_bytes and self.used_bytes + size_bytes > self._bound:
                self._changed.wait()
            self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        with self._changed:
            self.used_bytes -= size_bytes
            self._changed.notify_all()


class Download:
    """Some tensors on their way to the host. Whoever has read it, or will not, releases it."""

    def __init__(self, there: Sequence[Tensor], done: Mark, ring: Ring) -> None:
        self._there: Sequence[Tensor] = there
        self._done, self._ring = done, ring
        self._size = bytes_of(there)

    def read(self) -> list[npt.NDArray[Any]]:
        """The arrays, as soon as they are there; to be copied before :meth:`release`."""
        self._done.synchronize()
        return [values.numpy() for values in self._there]

    def release(self) -> None:
        """Make room in the ring; once."""
        size, self._size, self._there = self._size, 0, ()
        self._ring.give(size)


class Copies:
    """The copies of one device; this one's memory is the host's."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device copies from and to without a thread's help."""
        return torch.empty(tuple(shape), dtype=dtype)

    def upload(self, values: Tensor) -> Tensor:
        """``values``, a :meth:`buffer`, on the device; what is computed afterwards waits for it."""
        return values

    def download(self, values: Sequence[Tensor]) -> Download:
        """Begin to copy contiguous tensors to the host once what was computed before is done.

        Waits, in this thread, for room in the ring.
        """
        size = bytes_of(values)
        self.ring.take(size)
        try:
            return Download(*self._begin(values), self.ring)
        except BaseException:
            self.ring.give(size)
            raise

    def mark(self) -> Mark:
        """Where everything computed so far is done."""
        return _HostMark()

    def _begin(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Mark]:
        return values, self.mark()


class _HostMark:
    def __init__(self) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: _HostMark) -> float:
        return (later._time - self._time) * 1000


class CudaCopies(Copies):
    """Two streams beside the one that computes: in and out.

    torch keeps page-locked memory for reuse and knows which copies still use it; so it does for memory of the
    device that is used on another stream (``record_stream``).
    """

    def __init__(self, ring: Ring, device: torch.device) -> None:
        super().__init__(ring)
        self._device = device
        self._in, self._out = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def upload(self, values: Tensor) -> Tensor:
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._in):
            there = values.to(self._device, non_blocking=True)
        computing.wait_stream(self._in)
        there.record_stream(computing)
        return there

    def mark(self) -> Mark:
        return self._mark_on(torch.cuda.current_stream(self._device))

    def _begin(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Mark]:
        there = [self.buffer(one.shape, one.dtype) for one in values]
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._out):
            for one, copy in zip(values, there, strict=True):
                copy.copy_(one, non_blocking=True)
                one.record_stream(self._out)
        return there, self._mark_on(self._out)

    def _mark_on(self, stream: torch.cuda.Stream) -> Mark:
        # Blocking: whoever waits for it must not use a core meanwhile.
        mark: Mark = torch.cuda.Event(enable_timing=True, blocking=True)
        mark.record(stream)  # type: ignore[attr-defined]
        return mark


def copies_for(device: torch.device, ring_bytes: int) -> Copies:
    """Those of ``device``."""
    ring = Ring(ring_bytes)
    return CudaCopies(ring, device) if device.type == "cuda" else Copies(ring)


def bytes_of(values: Sequence[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in values)
