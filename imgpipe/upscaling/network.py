"""What every network gives, whatever runs it: strips of 16-bit levels, and what tiling must know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.tiling import Span

if TYPE_CHECKING:
    from imgpipe.upscaling.network_input import NetworkInput

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
class Finishing:
    """What a device does to a whole picture at the network's own scale, beside enlarging it.

    ``bits``: 8 or 16, of the result. ``color_match``: adds what the network's colours lack.
    """

    bits: int
    color_match: bool


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A tile of a picture that a device computes. ``held``: what :meth:`DeviceNetwork.hold` gave.

    ``finishing``: where the tile is the whole picture and is finished there.
    """

    held: Any
    row: Span
    column: Span
    finishing: Finishing | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What came of a :class:`Part`, without its halo.

    ``levels``: (rows * scale, w * scale, 3) RGB: 16 bits and with ``mean`` as in :class:`Strip`, or finished,
    with the network's mean colour shift and the largest correction in 1/255. ``seconds``: of the device.
    ``finite``: False where all of it must be computed in fp32. ``fp32_retries``: windows for which that was
    done.
    """

    levels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    mean: Floats | None
    seconds: float
    finite: bool = True
    fp32_retries: int = 0
    shift_255: float = 0.0
    correction_255: float = 0.0


class Sent(Protocol):
    """An :class:`Answer` on its way to the host."""

    def read(self) -> Answer:
        """Wait for it; its arrays are to be copied before :meth:`release`. Raises what the device raised."""

    def release(self) -> None:
        """Let go of its memory, read or not; once."""


@runtime_checkable
class DeviceNetwork(Protocol):
    """A :class:`Network` whose device works by itself while one thread gives it orders."""

    def hold(self, source: NetworkInput, finishing: Finishing | None) -> Any:
        """``source`` where the device can copy it from; in the thread of whoever brings it."""

    def wait_for_turn(self) -> None:
        """Wait until more can be ordered: what is not ordered yet can still be computed together."""

    def start(self, parts: Sequence[Part], give: Callable[[int, Sent], None], *, full: bool) -> None:
        """Order parts with windows of one shape, and ``give`` each with its index once that is done.

        ``full``: in fp32. Raises ``OutOfMemory``, ``ModelError`` and ``InferenceError``; what was not given
        then never comes.
        """

    def release_cached_memory(self) -> None:
        """See :class:`Network`."""


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


def whole_windows(network: Network, windows: Floats) -> tuple[Native, Floats]:
    """Levels and means of whole windows: the network's strips put together."""
    count, height, width, channels = windows.shape
    scale = network.scale
    levels = np.empty((count, height * scale, width * scale, channels), np.uint16)
    mean = np.empty_like(windows)
    for strip in network.strips(windows):
        start, stop = strip.start, strip.start + strip.mean.shape[1]
        if stop - start == height:
            levels, mean = strip.levels, strip.mean
        else:
            levels[:, start * scale : stop * scale], mean[:, start:stop] = strip.levels, strip.mean
    return levels, mean
