"""Winograd's convolutions against torch's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imgpipe.upscaling.winograd import CHANNELS, Floats, Lines, Workspace, convolve_tiles, transformed_filter


def _convolved(source: Floats, weight: Floats, bias: Floats, slope: Floats) -> Floats:
    """(4 m, 4 n, out) of (4 m + 2, 4 n + 2, 64) by :func:`convolve_tiles`, in two calls."""
    height, width, _ = source.shape
    across, tiles = width // 4, width // 4 * (height // 4)
    target = np.full((height - 2, width, CHANNELS), np.nan, np.float32)
    lines = [
        Lines(rows.reshape(-1), (np.arange(len(rows)) * width * CHANNELS).astype(np.uint64))
        for rows in (source, target)
    ]
    padded = np.zeros(CHANNELS, np.float32)
    padded[: len(bias)] = bias
    weights, space = (transformed_filter(weight), padded, slope), Workspace()
    for part in (range(tiles // 3), range(tiles // 3, tiles)):
        convolve_tiles(*lines, weights, across, part, space)
    assert np.isnan(target[:, [0, -1]]).all(), "only the columns in between are written"
    return target[:, 1:-1, : len(bias)]


def _numbers(seed: int, height: int, width: int, outputs: int) -> tuple[Floats, Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(0, 1, (height, width, CHANNELS)).astype(np.float32),
        rng.normal(0, 0.05, (outputs, CHANNELS, 3, 3)).astype(np.float32),
        rng.normal(0, 0.3, outputs).astype(np.float32),
        rng.random(CHANNELS, np.float32),
    )


def _truth(source: Floats, weight: Floats, bias: Floats, slope: Floats) -> Floats:
    pixels, filters, add = (torch.from_numpy(part).double() for part in (source, weight, bias))
    result = torch.nn.functional.conv2d(pixels.permute(2, 0, 1)[None], filters, add)
    result = torch.nn.functional.prelu(result, torch.from_numpy(slope[: len(bias)]).double())
    return result[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("height", "width", "outputs"), [(6, 6, 64), (10, 34, 64), (18, 46, 48), (6, 262, 12)]
)
def test_equal_to_the_sum(height: int, width: int, outputs: int) -> None:
    numbers = _numbers(height, height, width, outputs)
    expected = _truth(*numbers)
    error = np.abs(_convolved(*numbers) - expected) / np.abs(expected).max()
    assert error.max() < 1e-5, f"largest {error.max():.1e}, mean {error.mean():.1e} of the largest value"
    assert error.mean() < 1e-6, f"mean {error.mean():.1e}"


def test_a_tile_is_the_same_wherever_it_lies() -> None:
    """Bit for bit: what makes tiled pictures equal the whole."""
    source, *weights = _numbers(1, 6, 34, 64)
    moved = np.zeros((14, 58, CHANNELS), np.float32)
    moved[8:14, 20:54] = source
    whole = _convolved(moved, *weights)
    assert np.array_equal(_convolved(source, *weights), whole[8:12, 20:52])


def test_nan_is_not_hidden() -> None:
    source, *weights = _numbers(2, 6, 10, 64)
    source[3, 3, 5] = np.nan
    result = _convolved(source, *weights)
    assert np.isnan(result[:, :4]).all()
    assert np.isfinite(result[:, 4:]).all()


@pytest.mark.parametrize("shape", [(64, 63, 3, 3), (65, 64, 3, 3), (64, 64, 5, 5), (64, 64, 3, 1)])
def test_other_filters_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        transformed_filter(np.zeros(shape, np.float32))
