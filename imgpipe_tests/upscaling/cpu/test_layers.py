"""Convolutions by the matrix unit against sums in float64; rounding to bf16 against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imgpipe.upscaling.cpu.compiled import CHANNELS
from imgpipe.upscaling.cpu.layers import (
    SPARE,
    SPARE_PIXELS,
    Bfloats,
    Floats,
    aligned,
    convolve,
    convolve_first,
    convolve_row_to_float,
    from_bfloats,
    packed_filter,
    row_pixels,
    to_bfloats,
)
from imgpipe.upscaling.cpu.tiles import SUMS, whole_tiles
from imgpipe_tests.upscaling.cpu import needs_amx


def _rounded(values: Floats) -> Floats:
    return torch.from_numpy(values).bfloat16().float().numpy()


def _numbers(
    seed: int, height: int, width: int, channels: int, outputs: int = CHANNELS
) -> tuple[Floats, ...]:
    """Pixels with 0 around them, filters (bf16), bias and slope."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height + 2, width + 2, channels), np.float32)
    pixels[1:-1, 1:-1] = rng.normal(0, 1, (height, width, channels))
    weight = rng.normal(0, 0.05, (outputs, channels, 3, 3)).astype(np.float32)
    return pixels, weight, rng.normal(0, 0.3, outputs).astype(np.float32), rng.random(outputs, np.float32)


def _truth(pixels: Floats, weight: Floats, bias: Floats, slope: Floats) -> Floats:
    parts = [torch.from_numpy(part).double() for part in (pixels, weight, bias, slope)]
    result = torch.nn.functional.conv2d(parts[0].permute(2, 0, 1)[None], parts[1], parts[2])
    return torch.nn.functional.prelu(result, parts[3])[0].permute(1, 2, 0).numpy()


def _in_rows(pixels: Floats) -> Bfloats:
    """As bits in rows of whole blocks, with what lies beyond the picture 0."""
    height, width = pixels.shape[0], pixels.shape[1] - 2
    memory = aligned((height, row_pixels(width), CHANNELS), np.uint16)
    memory[:, : width + 2] = to_bfloats(pixels)
    return memory.reshape(-1)


def _kept(values: Floats) -> Floats:
    memory: Floats = aligned((CHANNELS,), np.float32)
    memory[: len(values)] = values
    return memory


def test_rounding_is_that_of_torch() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    ties = (rng.integers(0, 2**16, 1000).astype(np.uint32) << 16 | 0x8000).view(np.float32)
    extreme = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-40], np.float32)
    every = np.concatenate([values, ties, extreme, np.array([-1], np.int32).view(np.float32)])
    expected, got = _rounded(every), from_bfloats(to_bfloats(every))
    assert np.array_equal(np.isnan(got), np.isnan(every)), "NaN is not rounded to a number"
    assert np.array_equal(got, expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(64, 63, 3, 3), (65, 64, 3, 3), (64, 64, 5, 5), (64, 64, 3, 1)])
def test_other_filters_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        packed_filter(np.zeros(shape, np.float32))


@pytest.mark.parametrize("count", [1, 31, 1000])
def test_memory_begins_at_a_cache_line(count: int) -> None:
    memory = aligned((count, 3), np.uint16)
    assert memory.ctypes.data % 64 == 0
    assert memory.shape == (count, 3)
    assert not memory.any()


@needs_amx
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 32), (7, 33), (4, 95)])
def test_equal_to_the_sum(height: int, width: int) -> None:
    pixels, weight, bias, slope = _numbers(height, height, width, CHANNELS)
    pixels, weight = _rounded(pixels), _rounded(weight)
    source, row = _in_rows(pixels), row_pixels(width) * CHANNELS
    memory = aligned((len(source) + (height + 3) * row + SPARE,), np.uint16)
    target = memory[len(source) : -SPARE]
    memory[: len(source)], target[:] = source, 0x7FC0
    reads = np.arange(height + 2) * row
    writes = len(source) + (2 + np.arange(height)) * row
    reads[0], memory[-row - SPARE : -SPARE] = len(memory) - row - SPARE, source[:row]  # rows may be anywhere
    sums, tiles = aligned((2 * SUMS,), np.float32), whole_tiles()
    middle = height // 2
    for begin, end in ((0, middle), (middle, height)):
        filters, factors = packed_filter(weight), _kept(slope)
        convolve(memory, reads, writes, filters, _kept(bias), factors, row, width, begin, end, sums, tiles)
    rows = from_bfloats(target).reshape(height + 3, -1, CHANNELS)
    expected = _truth(pixels, weight, bias, slope)
    np.testing.assert_allclose(rows[2:-1, 1 : width + 1], expected, rtol=2**-8, atol=1e-5)
    assert not rows[2:-1, width + 1 :].any(), "beyond the picture there is 0 for the next layer"
    assert np.isnan(rows[[0, 1]]).all()
    assert np.isnan(rows[2:-1, 0]).all(), "what is left of the picture stays"


@needs_amx
@pytest.mark.parametrize(("height", "width", "outputs"), [(3, 40, 48), (2, 32, 64), (4, 7, 3)])
def test_the_last_layer_is_not_rounded(height: int, width: int, outputs: int) -> None:
    pixels, weight, bias, _ = _numbers(1, height, width, CHANNELS, outputs)
    pixels, weight = _rounded(pixels), _rounded(weight)
    source, row = _in_rows(pixels), row_pixels(width) * CHANNELS
    result = aligned((row_pixels(width), CHANNELS), np.float32)
    expected = _truth(pixels, weight, bias, np.ones(outputs, np.float32))
    reads = np.arange(height + 2) * row
    for y in range(height):
        filters, flat = packed_filter(weight), result.reshape(-1)
        convolve_row_to_float(source, reads, flat, filters, _kept(bias), width, y, 2, whole_tiles())
        np.testing.assert_allclose(result[:width, :outputs], expected[y], rtol=0, atol=2e-5)


@needs_amx
def test_the_first_layer_is_summed_in_float32() -> None:
    height, width = 6, 45
    pixels, weight, bias, slope = _numbers(3, height, width, 3)
    row = row_pixels(width) * CHANNELS
    target = aligned((height * row,), np.uint16)
    filters = aligned((27 * CHANNELS,), np.float32)
    filters[:] = weight.transpose(2, 3, 1, 0).ravel()
    sums = aligned((2 * SUMS,), np.float32)
    flat = np.concatenate([pixels.reshape(-1), np.full(3 * SPARE_PIXELS, np.nan, np.float32)])
    add, factors, writes = _kept(bias), _kept(slope), np.arange(height) * row
    convolve_first(flat, target, writes, filters, add, factors, row, width, 0, height, sums)
    rows = from_bfloats(target).reshape(height, -1, CHANNELS)[:, 1 : width + 1]
    expected = _truth(pixels, weight, bias, slope)
    np.testing.assert_allclose(rows, expected, rtol=2**-8, atol=1e-6)
    same = rows == _rounded(expected.astype(np.float32))
    assert same.mean() > 0.999, "what is rounded is the sum in float32"
