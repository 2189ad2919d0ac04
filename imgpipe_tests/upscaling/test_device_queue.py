"""A device that needs time, made up: copies come late, the ring is small, and nothing is taken too early."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imgpipe.errors import DeviceFault, InferenceError
from imgpipe.images.image import Image
from imgpipe.inference.copies import Copies, Mark, Ring
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling.device_network import TorchDeviceNetwork
from imgpipe.upscaling.device_queue import _Job
from imgpipe.upscaling.finish import Finisher
from imgpipe.upscaling.network import Answer, LoadedNetwork, ReceptiveField
from imgpipe.upscaling.network_input import ColourInput
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged, Tile
from imgpipe_tests.upscaling.whole import enlarge

SCALE = 2
EDGE = 32
#: A finished picture of EDGE x EDGE px, and its five numbers.
PICTURE_BYTES = (EDGE * SCALE) ** 2 * 3 + 5 * 8


class _Repeat(nn.Module):
    """Repeats pixels; a picture that begins with a value above 0.9 is not finite in low precision."""

    def __init__(self, low: bool = True) -> None:
        super().__init__()
        self.low = low
        self.calls: list[int] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.calls.append(len(pixels))
        pixels = pixels.float()
        result = pixels.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
        return torch.where(result[:, :1, :1, :1] > 0.9, torch.nan, result) if self.low else result


class _Late:
    """Done a while after it was ordered."""

    def __init__(self, seconds: float, work: Any = lambda: None, error: Exception | None = None) -> None:
        self.error = error
        self._at = time.perf_counter() + seconds
        self._done = threading.Event()
        threading.Thread(target=self._wait, args=(seconds, work), daemon=True).start()

    def _wait(self, seconds: float, work: Any) -> None:
        time.sleep(seconds)
        work()
        self._done.set()

    def synchronize(self) -> None:
        assert self._done.wait(30)
        if self.error is not None:
            raise self.error

    def elapsed_time(self, later: _Late) -> float:
        return (later._at - self._at) * 1000


class _LateCopies(Copies):
    """Memory of the host is handed out again as soon as it was let go, and holds nonsense until the copy has
    come; ``most_bytes``: of results at once."""

    def __init__(self, ring_bytes: int, seconds: float = 0.01) -> None:
        super().__init__(Ring(ring_bytes))
        self.most_bytes = 0
        self.seconds = seconds
        self.errors: list[Exception | None] = []

    def mark(self) -> Mark:
        return _Late(0.0)

    def _begin(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Mark]:
        self.most_bytes = max(self.most_bytes, self.ring.used_bytes)
        there = [torch.full_like(one, 77) for one in values]

        def work() -> None:
            with torch.inference_mode():
                for one, copy in zip(values, there, strict=True):
                    copy.copy_(one)

        return there, _Late(self.seconds, work, self.errors.pop(0) if self.errors else None)


def _form(module: nn.Module, dtype: torch.dtype, _: str) -> nn.Module:
    assert isinstance(module, _Repeat)
    made = _Repeat(dtype != torch.float32)
    made.calls = module.calls
    return made


def _queue(copies: Copies, tile: int = 0, batch: int = 16) -> tuple[NetworkQueue, list[int]]:
    module = _Repeat()
    inner = TorchNetwork(module, scale=SCALE, device="cpu", precision="fp16", form=_form)
    network = TorchDeviceNetwork(inner, copies)
    network.device = "cuda"
    field = ReceptiveField(2, "computed")
    loaded = LoadedNetwork(network, "test", "torch", "test", field, MemoryModel.of_peaks(lambda w, h: w * h))
    return NetworkQueue(loaded, TilePlanner(loaded, tile, 2, batch)), module.calls


def _finished(queue: NetworkQueue, level: int) -> tuple[Any, Enlarged]:
    """A picture of one level, but for its first pixel."""
    pixels = np.full((EDGE, EDGE, 3), level, np.uint8)
    target = np.zeros((EDGE * SCALE, EDGE * SCALE, 3), np.uint8)
    with Finisher(ColourInput(Image(pixels)), SCALE, target, color_match=False) as finisher:
        done = queue.enlarge(ColourInput(Image(pixels)), finisher)
        finisher.done()
    return target, done


def test_results_are_whole_and_never_more_than_the_ring_holds() -> None:
    copies = _LateCopies(3 * PICTURE_BYTES)
    queue, calls = _queue(copies)
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda level: _finished(queue, level), range(1, 41)))
    for level, (target, _) in enumerate(done, 1):
        assert (target == level).all(), level
    assert PICTURE_BYTES < copies.most_bytes <= 3 * PICTURE_BYTES
    assert copies.ring.used_bytes == 0
    assert sum(calls) == 40
    assert 1 < max(calls) <= 16, "pictures that wait share a batch"


def test_the_device_goes_on_while_a_picture_is_read_slowly() -> None:
    copies = _LateCopies(8 * PICTURE_BYTES, 0.0)
    queue, _ = _queue(copies)
    reading, go = threading.Event(), threading.Event()

    class Slow(Finisher):
        def take_finished(self, answer: Answer) -> None:
            reading.set()
            assert go.wait(30)
            super().take_finished(answer)

    pixels = np.full((EDGE, EDGE, 3), 9, np.uint8)
    target = np.zeros((EDGE * SCALE, EDGE * SCALE, 3), np.uint8)
    source = ColourInput(Image(pixels))
    with ThreadPoolExecutor(1) as pool, Slow(source, SCALE, target, color_match=False) as slow:
        first = pool.submit(queue.enlarge, source, slow)
        assert reading.wait(30)
        for level in range(10, 20):
            assert (_finished(queue, level)[0] == level).all()
        assert copies.ring.used_bytes == PICTURE_BYTES, "the one that is being read"
        go.set()
        first.result(30)
    assert (target == 9).all()
    assert copies.ring.used_bytes == 0


@pytest.mark.parametrize("tile", [0, 16])
def test_an_error_in_one_picture_frees_what_it_holds(tile: int) -> None:
    copies = _LateCopies(2 * PICTURE_BYTES)
    queue, _ = _queue(copies, tile)

    class Failing(Finisher):
        def take_finished(self, answer: Answer) -> None:
            raise MemoryError("of the host")

        def take(self, *_: object) -> None:
            raise MemoryError("of the host")

    def fail(level: int) -> None:
        pixels = np.full((EDGE, EDGE, 3), level, np.uint8)
        target = np.zeros((EDGE * SCALE, EDGE * SCALE, 3), np.uint8)
        source = ColourInput(Image(pixels))
        with pytest.raises(MemoryError), Failing(source, SCALE, target, color_match=False) as failing:
            queue.enlarge(source, failing)

    with ThreadPoolExecutor(8) as pool:
        failing = [pool.submit(fail, level) for level in range(100, 108)]
        done = list(pool.map(lambda level: _finished(queue, level)[0], range(1, 9)))
        for one in failing:
            one.result(30)
    for level, target in enumerate(done, 1):
        assert (target == level).all()
    deadline = time.monotonic() + 30
    while copies.ring.used_bytes and time.monotonic() < deadline:
        time.sleep(0.001)  # what was ordered for those that had gone
    assert copies.ring.used_bytes == 0


@pytest.mark.parametrize("tile", [0, 16])
def test_what_is_not_finite_is_computed_again_in_fp32_alone(tile: int) -> None:
    queue, calls = _queue(_LateCopies(2**20), tile, batch=4)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda level: _finished(queue, level), (10, 20, 250, 30, 40, 50)))
    for level, (target, _) in zip((10, 20, 250, 30, 40, 50), done, strict=True):
        assert (target == level).all(), level
    tiles = done[0][1].plan.count
    assert [enlarged.fp32_retries for _, enlarged in done] == [0, 0, tiles, 0, 0, 0]
    assert sum(calls) == 7 * tiles


def test_tiles_are_put_together_by_the_pictures_own_thread() -> None:
    colour = np.random.default_rng(0).random((90, 70, 3), np.float32) * np.float32(0.8)
    queue, calls = _queue(_LateCopies(40_000, 0.002), tile=24, batch=4)
    result = enlarge(queue, colour, SCALE)
    expected = np.floor(colour * 65535 + 0.5).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    np.testing.assert_array_equal(result.levels, expected)
    assert result.enlarged.plan.count == sum(calls) == 12


def test_a_fault_that_shows_late_stops_the_run() -> None:
    copies = _LateCopies(2**20)
    copies.errors = [RuntimeError("CUDA error: an illegal memory access was encountered")]
    queue, _ = _queue(copies)
    with pytest.raises(DeviceFault, match="illegal memory access"):
        _finished(queue, 5)
    assert copies.ring.used_bytes == 0


def test_damaged_weights_are_an_error_of_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, _ = _queue(_LateCopies(2**20))
    monkeypatch.setattr(_Repeat, "forward", lambda _, pixels: pixels.repeat(1, 1, 2, 2) * torch.nan)
    with pytest.raises(InferenceError, match="fp32 too"):
        _finished(queue, 5)


def test_what_comes_for_a_picture_that_nobody_waits_for_is_released() -> None:
    class Counted:
        released = 0

        def read(self) -> Answer:
            raise AssertionError("nobody reads it")

        def release(self) -> None:
            self.released += 1

    before, after = Counted(), Counted()
    job, tile = _Job(None, (EDGE, EDGE), None), cast(Tile, None)
    job.put((tile, before))
    job.abandon()
    job.put((tile, after))
    assert (before.released, after.released) == (1, 1)
