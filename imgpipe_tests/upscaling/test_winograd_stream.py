"""Bands of tiles give what the layers one after another give, at every size and number of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imgpipe.upscaling import winograd_stream
from imgpipe.upscaling.winograd import CHANNELS, Floats, transformed_filter
from imgpipe.upscaling.winograd_stream import BandPlan, WinogradLayer, stream_tiles

_RNG = np.random.default_rng(4)
_WEIGHTS = [_RNG.normal(0, 0.06, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32) for _ in range(5)]
_BIAS, _SLOPE = _RNG.normal(0, 0.2, CHANNELS).astype(np.float32), _RNG.random(CHANNELS, np.float32)
_LAYERS = [WinogradLayer(transformed_filter(weight), _BIAS, _SLOPE) for weight in _WEIGHTS]


def _pixels(height: int, width: int) -> Floats:
    return np.random.default_rng(height * 100 + width).random((height, width, CHANNELS), np.float32)


def _rows_of(pixels: Floats, asked: list[tuple[int, int]]) -> Callable[[int, int], Floats]:
    def rows(start: int, stop: int) -> Floats:
        asked.append((start, stop))
        return pixels[start:stop]

    return rows


def _streamed(pixels: Floats, threads: int) -> Floats:
    height, width, _ = pixels.shape
    asked: list[tuple[int, int]] = []
    plan = BandPlan(width, height, len(_LAYERS), threads)
    parts = list(stream_tiles(_LAYERS, _rows_of(pixels, asked), plan))
    lengths = [len(rows) for _, rows in parts]
    assert [start for start, _ in parts] == [sum(lengths[:index]) for index in range(len(lengths))]
    assert [start for start, _ in asked] == [0, *(stop for _, stop in asked[:-1])], (
        "each row is asked for once"
    )
    return np.concatenate([rows for _, rows in parts])


@pytest.mark.parametrize("share", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 9), (4, 4), (5, 3), (8, 13), (23, 17), (64, 30), (97, 8)]
)
def test_bands_are_the_whole(height: int, width: int, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd_stream, "_SHARE_TILES", share)
    pixels = _pixels(height, width)
    expected = torch.from_numpy(pixels).double().permute(2, 0, 1)[None]
    for weight in _WEIGHTS:
        filters, bias = torch.from_numpy(weight).double(), torch.from_numpy(_BIAS).double()
        expected = torch.nn.functional.conv2d(expected, filters, bias, padding=1)
        expected = torch.nn.functional.prelu(expected, torch.from_numpy(_SLOPE).double())
    error = np.abs(_streamed(pixels, threads=1) - expected[0].permute(1, 2, 0).numpy())
    assert error.max() < 1e-4, f"largest {error.max():.1e} at {np.unravel_index(error.argmax(), error.shape)}"


def test_threads_change_nothing() -> None:
    pixels = _pixels(150, 90)
    alone = _streamed(pixels, threads=1)
    for threads in (2, 3, 5):
        assert np.array_equal(_streamed(pixels, threads), alone)


def test_memory_follows_the_band() -> None:
    plans = [BandPlan(640, height, 17, 2) for height in (480, 4800)]
    assert plans[0].floats == plans[1].floats
    assert plans[0].floats * 4 < 160 * 2**20
    assert BandPlan(640, 480, 17, 2).band_rows * 4 < 480


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(winograd_stream, "convolve_tiles", fails)
    with pytest.raises(MemoryError, match="no room"):
        _streamed(_pixels(20, 20), threads=3)
