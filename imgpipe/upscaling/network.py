"""What every network gives, whatever runs it: strips of 16-bit levels, and what tiling must know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from imgpipe.inference.memory_model import MemoryModel

Floats = npt.NDArray[np.float32]

#: What a network's output is kept in: 1/65535 steps, 1/257 of an 8-bit level.
Native = npt.NDArray[np.uint16]
NATIVE_MAX = 65535

#: Context for networks that look at the whole picture: exact tiles do not exist, seams become faint.
UNBOUNDED_HALO_PX = 64


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """``radius_px``: source px on each side. ``exact``: tiles with that halo equal the whole picture.

    ``source``: ``computed`` from the layers, ``measured`` on a probe, or ``unbounded`` (an output
    depends on the whole picture or on where it is cut; the radius is then :data:`UNBOUNDED_HALO_PX`).
    """

    radius_px: int
    source: Literal["computed", "measured", "unbounded"]

    @property
    def exact(self) -> bool:
        return self.source != "unbounded"


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Some rows of what a network made of n windows of one shape.

    ``start``: the first source row of the window that they come from. ``levels``: (n, rows * scale,
    w * scale, 3) uint16 RGB. ``mean``: (n, rows, w, 3) float32 in 0..1, each source pixel's area of the
    clipped output averaged. ``whole``: levels and means of the whole windows, where the network writes its
    strips into one piece of memory: they need no copying then.
    """

    start: int
    levels: Native
    mean: Floats
    whole: tuple[Native, Floats] | None = None


@dataclass(frozen=True, slots=True)
class Strips:
    """How a window is cut into strips of about ``pixels`` source px, 0 = not at all.

    ``halo_rows``: source rows that a strip needs on either side beyond those that it gives.
    """

    pixels: int = 0
    halo_rows: int = 0

    def of(self, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
        """(start, stop, first, last) from top to bottom: rows that a strip gives, and rows that it needs."""
        step = max(1, self.pixels // width) if self.pixels else height
        for start in range(0, height, step):
            stop = min(height, start + step)
            yield start, stop, max(0, start - self.halo_rows), min(height, stop + self.halo_rows)


#: All rows at once.
WHOLE = Strips()


class Network(Protocol):
    """A network on one device. Not thread-safe: the owner holds a lock."""

    @property
    def scale(self) -> int:
        """Output size / input size."""

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16``, ``fp16`` or ``int8``: what the inner work is done in."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """Enlarge (n, h, w, 3) float32 RGB in 0..1; the strips cover every row.

        A strip may come again, with better values, where lower precision failed: the last one counts.
        Raises ``OutOfMemory`` (a smaller window may work) and ``InferenceError``.
        """

    def take_retries(self) -> int:
        """How many windows were computed again in fp32 since the last call."""

    def release_cached_memory(self) -> None:
        """Give memory that is kept for reuse back to the device."""


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A checked network with what tiling must know about it.

    ``multiple_of``: windows begin and end on multiples of it, source px. ``tileable``: False where the
    architecture tiles inside or must see the whole picture. ``runtime``: what computes it: openvino,
    torch, onnxruntime, opencv, or amx (the CPU's matrix unit). ``reasons``: what could not be had as asked.
    """

    network: Network
    backend: str
    runtime: str
    architecture: str
    receptive_field: ReceptiveField
    memory: MemoryModel
    multiple_of: int = 1
    tileable: bool = True
    reasons: tuple[str, ...] = ()


def strip_of(result: Floats, scale: int) -> Strip:
    """The :class:`Strip` of whole windows: ``result`` (n, h * scale, w * scale, 3) float32, any values."""
    clipped = np.clip(result, 0.0, 1.0)
    count, height, width, channels = clipped.shape
    cells = clipped.reshape(count, height // scale, scale, width // scale, scale, channels)
    levels = (clipped * np.float32(NATIVE_MAX) + np.float32(0.5)).astype(np.uint16)
    return Strip(0, levels, cells.mean(axis=(2, 4), dtype=np.float32))
