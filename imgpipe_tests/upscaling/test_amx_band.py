"""Bands give every row once, whatever their size and the number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.upscaling import amx_band
from imgpipe.upscaling.amx import Floats, packed_filter
from imgpipe.upscaling.amx_band import AmxChain, BandPlan, stream_strips
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.network import Native

needs_amx = pytest.mark.skipif(not amx_is_usable(), reason="this CPU, kernel or compiler has no AMX-BF16")

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
@pytest.mark.parametrize("band", [1, 2, 5, 19, 50])
def test_each_layer_makes_each_row_once(height: int, band: int) -> None:
    above, made_by_layer = np.ones(_LAYERS, np.int64), np.zeros(_LAYERS, np.int64)
    plan = BandPlan(8, band, _LAYERS, 1)
    for start in range(0, height, band):
        stop = min(height, start + band)
        made, above = amx_band._schedule(above, stop - start, stop == height)
        assert (made <= plan.most_rows).all()
        made_by_layer += made
        lag = np.arange(_LAYERS) * (stop < height)
        assert np.array_equal(made_by_layer, np.maximum(stop - lag, 0)), "a layer needs the row below"
    assert (made_by_layer == height).all()


@needs_amx
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (9, 3), (33, 31), (70, 64)])
def test_bands_and_threads_change_nothing(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    window = _picture(height, width)
    whole = _streamed(window, threads=1)
    assert whole[0].shape == (height * _FACTOR, width * _FACTOR, 3)
    for pixels, shares, threads in ((70, 1, 1), (200, 3, 2), (700, 8, 5)):
        monkeypatch.setattr(amx_band, "_BAND_PIXELS_PER_THREAD", pixels)
        monkeypatch.setattr(amx_band, "_SHARES_PER_THREAD", shares)
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
