"""A GPU that runs out of memory or fails, made up: what is tried next, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imgpipe.errors import DeviceFault, InferenceError, OutOfMemory
from imgpipe.images.image import Image
from imgpipe.inference.failures import translated
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.weights import LocatedWeights
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.network import Floats, LoadedNetwork, ReceptiveField, Strip, strip_of
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe_tests.inference.test_failures import DEVICE, NO_MEMORY, OTHER
from imgpipe_tests.upscaling.whole import enlarge

EDGE = 128


class _Gpu:
    """Gives pixels back; ``errors`` come first, one per call; ``room``: the most pixels at once."""

    scale, precision, device = 1, "fp16", "cuda"

    def __init__(self, *errors: Exception, room: int = 2**30) -> None:
        self.errors, self.room = list(errors), room
        self.windows: list[tuple[int, ...]] = []
        self.released = 0

    def strips(self, windows: Floats) -> Iterator[Strip]:
        self.windows.append(windows.shape[:3])
        with translated("windows", self.device, (Exception,)):
            if self.errors:
                raise self.errors.pop(0)
            if windows[..., 0].size > self.room:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        yield strip_of(windows, 1)

    def take_retries(self) -> int:
        return 0

    def release_cached_memory(self) -> None:
        self.released += 1


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgpipe.upscaling.tile_planner.available_memory_bytes", lambda _: 2**40)


def _loaded(gpu: _Gpu) -> LoadedNetwork:
    field = ReceptiveField(2, "computed")
    return LoadedNetwork(gpu, "test", "torch", "test", field, MemoryModel(0.0, 1024.0))


def _queue(gpu: _Gpu) -> NetworkQueue:
    loaded = _loaded(gpu)
    return NetworkQueue(loaded, TilePlanner(loaded, "auto", 2, 1))


def _is_right(queue: NetworkQueue) -> int:
    """How often memory ran out for a picture that is right in the end."""
    colour = np.random.default_rng(0).random((EDGE, EDGE, 3), dtype=np.float32)
    done = enlarge(queue, colour, 1)
    np.testing.assert_array_equal(done.levels, (colour * np.float32(65535) + np.float32(0.5)).astype(int))
    return done.enlarged.oom_retries


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: str(error)[:60])
def test_out_of_memory_is_the_same_size_once_more(error: Exception) -> None:
    gpu = _Gpu(error)
    queue = _queue(gpu)
    assert [_is_right(queue), _is_right(queue)] == [1, 0]
    assert gpu.windows == [(1, EDGE, EDGE)] * 3
    assert gpu.released == 1


def test_then_smaller_and_later_as_large_as_before() -> None:
    gpu = _Gpu(room=80 * 80)
    queue = _queue(gpu)
    assert _is_right(queue) == 2, "whole twice, then in four"
    assert gpu.windows[:2] == [(1, EDGE, EDGE)] * 2
    assert gpu.windows[2:] == [(1, 66, 66)] * 4
    gpu.room, gpu.windows = 2**30, []
    for _ in range(40):
        assert _is_right(queue) == 0
    assert gpu.windows[0] == (1, 66, 66)
    assert gpu.windows[-1] == (1, EDGE, EDGE), "the ceiling has gone"


def test_what_never_fits_is_this_pictures_error() -> None:
    gpu = _Gpu(room=10)
    queue = _queue(gpu)
    with pytest.raises(OutOfMemory, match="even a tile of 32 px"):
        _is_right(queue)
    gpu.room = 2**30
    assert _is_right(queue) == 0


@pytest.mark.parametrize("error", DEVICE, ids=lambda error: str(error)[:60])
def test_a_device_fault_stops_the_run(error: Exception) -> None:
    gpu = _Gpu(error)
    queue = _queue(gpu)
    with pytest.raises(DeviceFault):
        _is_right(queue)
    assert gpu.windows == [(1, EDGE, EDGE)], "nothing else is tried"
    assert _is_right(queue) == 0
    assert gpu.windows[1:] == [(1, EDGE, EDGE)]


def test_another_error_is_this_pictures() -> None:
    queue = _queue(_Gpu(OTHER[0]))
    with pytest.raises(InferenceError):
        _is_right(queue)
    assert _is_right(queue) == 0


@pytest.mark.parametrize(("device", "exact"), [("cuda", False), ("cpu", True)])
def test_tiles_are_called_exact_only_where_they_are(device: str, exact: bool) -> None:
    gpu = _Gpu()
    gpu.device = device
    located = LocatedWeights("test", Path("test"), "", None)
    upscaler = NetworkUpscaler(_loaded(gpu), UpscaleSettings(scale=1, tile_size=64), located)
    done = upscaler.upscale(Image(np.zeros((EDGE, EDGE, 3), np.uint8)))
    assert done.details["tiles"] == 4
    assert done.details["exact_tiles"] is exact


def test_windows_are_bounded_where_memory_is_not() -> None:
    planner = TilePlanner(_loaded(_Gpu()), "auto", 94)
    assert planner.plan(3000, 3000).xs == ()
    plan = planner.plan(4096, 4096)
    assert plan.largest_window_pixels * 192 <= 2**31
    assert len(plan.xs) == 1
