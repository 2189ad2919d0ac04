"""Pictures of several threads share batches, and nothing else: not their pixels, not their faults."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pytest

from imgpipe.errors import InferenceError, OutOfMemory
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling import device_queue
from imgpipe.upscaling.network import (
    NATIVE_MAX,
    Floats,
    LoadedNetwork,
    ReceptiveField,
    Strip,
    strip_of,
)
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe_tests.upscaling.whole import ArrayInput, Parts, Result, enlarge
from imgpipe_tests.waiting import until

_SCALE = 2
#: Pictures that hold this value have what their network cannot do in low precision.
_STRANGE = 0.125


class _Network:
    """Repeats pixels; the first call waits until the test opens the gate."""

    scale, precision, device = _SCALE, "bf16", "cuda"

    def __init__(self, fault: Callable[[Floats], None] = lambda _: None) -> None:
        self.counts: list[int] = []
        self.gate = threading.Event()
        self._fault = fault
        self._retries = 0

    def strips(self, windows: Floats) -> Iterator[Strip]:
        self.counts.append(len(windows))
        if len(self.counts) == 1:
            assert self.gate.wait(30)
        self._fault(windows)
        result = np.repeat(np.repeat(windows, _SCALE, axis=1), _SCALE, axis=2)
        if (windows == _STRANGE).any():
            self._retries += len(windows)
            result = result + 1 / NATIVE_MAX  # other bits, as those of another precision are
        yield strip_of(result, _SCALE)

    def take_retries(self) -> int:
        count, self._retries = self._retries, 0
        return count

    def release_cached_memory(self) -> None:
        pass


def _queue(network: _Network, batch: int = 8, tile: int = 0) -> NetworkQueue:
    field = ReceptiveField(2, "computed")
    loaded = LoadedNetwork(network, "test", "test", "test", field, MemoryModel.of_peaks(lambda w, h: w * h))
    return NetworkQueue(loaded, TilePlanner(loaded, tile, 2, batch))


def _picture(value: float, width: int = 40, height: int = 36) -> Floats:
    return np.full((height, width, 3), value, np.float32)


def _are_waiting(network: _Network, queue: NetworkQueue, count: int) -> bool:
    return bool(network.counts) and queue._device is not None and len(queue._device._waiting) == count


def _all_at_once(
    network: _Network, queue: NetworkQueue, pictures: Sequence[Floats]
) -> list[Result | BaseException]:
    """The first picture holds the network until all others wait."""
    results: list[Result | BaseException] = [RuntimeError("never came")] * len(pictures)

    def work(index: int) -> None:
        try:
            results[index] = enlarge(queue, pictures[index], _SCALE)
        except BaseException as exc:  # a test looks at it
            results[index] = exc

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(pictures))]
    for index, thread in enumerate(threads):
        thread.start()
        until(partial(_are_waiting, network, queue, index))
    network.gate.set()
    for thread in threads:
        thread.join(30)
    return results


def _is(result: Result | BaseException, picture: Floats, extra: int = 0) -> bool:
    assert isinstance(result, Result), result
    expected = np.floor(picture * NATIVE_MAX + 0.5).astype(int) + extra
    return np.array_equal(result.levels, np.repeat(np.repeat(expected, 2, axis=0), 2, axis=1))


def test_equal_windows_of_those_that_wait_are_one_batch() -> None:
    network = _Network()
    pictures = [_picture(value / 10) for value in range(1, 7)] + [_picture(0.9, width=33)]
    results = _all_at_once(network, _queue(network, batch=3), pictures)
    assert network.counts == [1, 3, 2, 1], "the first alone, then batches of the five like it, then the other"
    for result, picture in zip(results, pictures, strict=True):
        assert _is(result, picture)
        assert isinstance(result, Result)
        assert result.enlarged.batch == 3
        assert result.enlarged.seconds > 0


def test_tiles_of_several_pictures_fill_a_batch() -> None:
    network = _Network()
    rng = np.random.default_rng(0)
    pictures = [rng.random((40, 80, 3), np.float32) for _ in range(3)]
    results = _all_at_once(network, _queue(network, batch=4, tile=44), pictures)
    assert network.counts == [2, 4], "two of each picture that waited"
    for result, picture in zip(results, pictures, strict=True):
        assert _is(result, picture)


def test_pictures_that_fill_the_network_are_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [_picture(value / 10) for value in range(1, 6)] + [_picture(0.6, height=2 * 36)]
    monkeypatch.setattr(device_queue, "_FILLING_PIXELS", 2 * 40 * 36)
    network = _Network()
    results = _all_at_once(network, _queue(network), pictures)
    assert sorted(network.counts) == [1, 1, 2, 2], "the first and the large one alone, the others in pairs"
    assert all(_is(result, picture) for result, picture in zip(results, pictures, strict=True))


def test_where_one_window_is_all_nothing_is_put_together() -> None:
    network = _Network()
    pictures = [_picture(value / 10) for value in range(1, 5)]
    results = _all_at_once(network, _queue(network, batch=1), pictures)
    assert network.counts == [1] * 4
    assert all(_is(result, picture) for result, picture in zip(results, pictures, strict=True))


@pytest.mark.parametrize("fault", [InferenceError("not this one"), MemoryError("of the host")])
def test_a_fault_is_that_of_its_picture(fault: Exception) -> None:
    def refuse(windows: Floats) -> None:
        if (windows == np.float32(0.3)).any():
            raise fault

    network = _Network(refuse)
    pictures = [_picture(value) for value in (0.1, 0.2, 0.3, 0.4)]
    results = _all_at_once(network, _queue(network), pictures)
    assert results[2] is fault
    for index in (0, 1, 3):
        assert _is(results[index], pictures[index])


def test_out_of_memory_together_is_tried_alone_and_told() -> None:
    def full(windows: Floats) -> None:
        if len(windows) > 2:
            raise OutOfMemory("full")

    network = _Network(full)
    queue = _queue(network)
    pictures = [_picture(value) for value in (0.1, 0.2, 0.3, 0.4)]
    results = _all_at_once(network, queue, pictures)
    assert network.counts == [1, 3, 1, 1, 1]
    assert all(_is(result, picture) for result, picture in zip(results, pictures, strict=True))
    assert [result.enlarged.oom_retries for result in results if isinstance(result, Result)] == [0, 1, 1, 1]
    assert queue._planner.smaller_batch(8) == 4, "the same was to be tried once more, then half of it"


def test_low_precision_that_fails_in_one_changes_no_other() -> None:
    network = _Network()
    pictures = [_picture(value) for value in (0.1, 0.2, _STRANGE, 0.4)]
    results = _all_at_once(network, _queue(network), pictures)
    assert [result.enlarged.fp32_retries for result in results if isinstance(result, Result)] == [0, 0, 1, 0]
    assert _is(results[2], pictures[2], extra=1)
    for index in (0, 1, 3):
        assert _is(results[index], pictures[index])


@pytest.mark.parametrize("batch", [1, 8])
def test_an_error_of_planning_reaches_everyone(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _Network()
    queue = _queue(network, batch)
    real = TilePlanner.plan

    def plan(self: TilePlanner, width: int, height: int) -> object:
        if network.gate.is_set():
            raise ValueError("no plan")
        return real(self, width, height)

    monkeypatch.setattr(TilePlanner, "plan", plan)
    results = _all_at_once(network, queue, [_picture(value) for value in (0.1, 0.2, 0.3)])
    assert isinstance(results[0], Result)
    assert [str(result) for result in results[1:]] == ["no plan", "no plan"]


def test_a_large_picture_comes_in_rows_of_tiles() -> None:
    network = _Network()
    network.gate.set()
    queue, parts = _queue(network, batch=1, tile=32), Parts(_SCALE)
    colour = np.random.default_rng(0).random((160, 70, 3), np.float32)
    queue.enlarge(ArrayInput(colour), parts)
    assert parts.firsts == list(range(0, 160, 32))
    assert _is(enlarge(queue, colour, _SCALE), colour)


def test_those_too_large_for_one_part_are_not_put_together() -> None:
    network = _Network()
    rng = np.random.default_rng(0)
    pictures = [rng.random((side, 32, 3), np.float32) for side in (32, 32, 400, 32)]
    results = _all_at_once(network, _queue(network, batch=2, tile=32), pictures)
    assert network.counts[:2] == [1, 2], "the small ones that waited"
    assert all(_is(result, picture) for result, picture in zip(results, pictures, strict=True))
