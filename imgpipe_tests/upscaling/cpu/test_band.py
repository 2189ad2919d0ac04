"""Bands give every row once, whatever their size and the number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.upscaling.cpu import band
from imgpipe.upscaling.cpu.band import AmxChain, BandPlan, Places, stream_strips
from imgpipe.upscaling.cpu.compiled import CHANNELS
from imgpipe.upscaling.cpu.layers import Floats, packed_filter
from imgpipe.upscaling.network import Native
from imgpipe_tests.upscaling.cpu import needs_amx

_FACTOR, _LAYERS = 2, 6


def _chain() -> AmxChain:
    rng = np.random.default_rng(5)
    filters = np.stack(
        [packed_filter(rng.normal(0, 0.05, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)) for _ in range(5)]
    )
    first = rng.normal(0, 0.3, 27 * CHANNELS).astype(np.float32)
    bias = rng.normal(0, 0.1, (_LAYERS, CHANNELS)).astype(np.float32)
    return AmxChain(first, filters, bias, rng.random((_LAYERS, CHANNELS), np.float32), _FACTOR)


def _picture(height: int, width: int) -> Floats:
    return np.random.default_rng(height * 100 + width).random((height, width, 3), np.float32)


def _streamed(window: Floats, threads: int) -> tuple[Native, Floats]:
    height, width, _ = window.shape
    parts = list(stream_strips(_chain(), window, BandPlan(width, height, _LAYERS, threads)))
    assert all(finite for _, finite in parts)
    strips = [strip for strip, _ in parts]
    rows = [strip.mean.shape[1] for strip in strips]
    assert [strip.start for strip in strips] == [sum(rows[:index]) for index in range(len(rows))]
    return tuple(np.concatenate([getattr(strip, name)[0] for strip in strips]) for name in ("levels", "mean"))  # type: ignore[return-value]


@pytest.mark.parametrize("height", [1, 2, 3, 7, 20, 41])
@pytest.mark.parametrize("band_rows", [1, 2, 5, 19, 50])
def test_each_layer_makes_each_row_once_and_finds_those_it_needs(height: int, band_rows: int) -> None:
    """Rows written by name and read by name, as memory would have them."""
    plan = BandPlan(8, band_rows, _LAYERS, 1)
    places, made = Places(plan), np.zeros(_LAYERS, int)
    memory: dict[int, tuple[int, int] | None] = {0: None}  # place: (layer, row); no row is made of zeros
    for start in range(0, height, band_rows):
        stop = min(height, start + band_rows)
        band = places.band(stop - start, is_last=stop == height)
        assert band.made[0] == stop - start
        assert (band.made <= plan.most_rows).all()
        for layer, count in enumerate(band.made):
            for index in range(count):
                row = int(made[layer]) + index
                if layer > 0:
                    read = [memory[place] for place in band.reads[layer, index : index + 3]]
                    around = range(row - 1, row + 2)
                    assert read == [(layer - 1, at) if 0 <= at < height else None for at in around]
                if layer < _LAYERS - 1:
                    place = int(band.writes[layer, index])
                    assert 0 < place <= plan.memory_values - plan.row_values
                    assert place % plan.row_values == 0
                    memory[place] = layer, row
        made += band.made
        lag = np.arange(_LAYERS) * (stop < height)
        assert np.array_equal(made, np.maximum(stop - lag, 0)), "a layer needs the row below"
    assert (made == height).all()


@pytest.mark.parametrize("band_rows", [3, 8, 30])
def test_a_row_is_written_over_only_what_is_read_two_rows_further(band_rows: int) -> None:
    """What threads rely on that begin with a layer before the one above it is finished."""
    plan = BandPlan(8, band_rows, _LAYERS, 2)
    places = Places(plan)
    for is_last in (False, False, True):
        band = places.band(plan.band_rows, is_last)
        for layer in range(1, _LAYERS - 1):
            for row in range(band.made[layer]):
                below = int(band.made[layer - 1])
                # Row y of the layer below reads places y to y + 2 of its table: the last reader of one is y.
                written_over = band.reads[layer - 1, : below + 2] == band.writes[layer, row]
                assert layer == 1 or np.flatnonzero(written_over).max(initial=0) <= row + 2
                read = np.isin(band.writes[layer - 1, :below], band.reads[layer, row : row + 3])
                assert np.flatnonzero(read).max(initial=0) <= row + 2


@needs_amx
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (9, 3), (33, 31), (70, 64)])
def test_bands_and_threads_change_nothing(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    window = _picture(height, width)
    whole = _streamed(window, threads=1)
    assert whole[0].shape == (height * _FACTOR, width * _FACTOR, 3)
    for pixels, shares, threads in ((70, 1, 1), (200, 3, 2), (700, 8, 5)):
        monkeypatch.setattr(band, "_BAND_PIXELS_PER_THREAD", pixels)
        monkeypatch.setattr(band, "_SHARES_PER_THREAD", shares)
        levels, mean = _streamed(window, threads)
        assert np.array_equal(levels, whole[0]), f"bands of {pixels} px on {threads} threads"
        assert np.array_equal(mean, whole[1])


@needs_amx
def test_the_mean_is_that_of_the_levels() -> None:
    levels, mean = _streamed(_picture(20, 30), threads=2)
    assert 0 < (levels == 0).mean() < 0.6, "some are clipped"
    cells = levels.reshape(20, _FACTOR, 30, _FACTOR, 3) / 65535
    np.testing.assert_allclose(mean, cells.mean(axis=(1, 3)), atol=1e-5)


@needs_amx
def test_what_is_not_finite_is_told() -> None:
    window = _picture(40, 40)
    window[30, 7, 1] = np.nan
    flags = [finite for _, finite in stream_strips(_chain(), window, BandPlan(40, 40, _LAYERS, 2))]
    assert not all(flags)


def test_memory_follows_the_band() -> None:
    short, tall = (BandPlan(640, height, 18, 2) for height in (480, 4800))
    assert short.bytes == tall.bytes < 64 * 2**20
    assert short.band_rows * 4 < 480
