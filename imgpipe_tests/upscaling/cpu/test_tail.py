"""ESRGAN's tail by the matrix unit: the layers' sums, in any strips, bands and threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imgpipe.upscaling.cpu import tail
from imgpipe.upscaling.cpu.layers import Floats, aligned, to_bfloats
from imgpipe.upscaling.cpu.tail import Tail, TailPlan, compute, packed_tail
from imgpipe_tests.upscaling.cpu import needs_amx

_SLOPE = 0.2
Numbers = list[tuple[Floats, Floats]]


def _numbers(enlargements: int) -> Numbers:
    """Weights of few bits, so that sums of four of them are bf16 numbers, but for the last convolution."""
    rng = np.random.default_rng(enlargements)
    made = []
    for _ in range(enlargements + 1):
        weight = (rng.integers(-16, 17, (64, 64, 3, 3)) / 256).astype(np.float32)
        made.append((weight, rng.normal(0, 0.1, 64).astype(np.float32)))
    weight = rng.normal(0, 0.05, (3, 64, 3, 3)).astype(np.float32)
    return [*made, (weight, rng.normal(0, 0.1, 3).astype(np.float32))]


def _features(height: int, width: int) -> Floats:
    rng = np.random.default_rng(height * 100 + width)
    values = torch.from_numpy(rng.normal(0, 1, (height, width, 64)).astype(np.float32))
    features: Floats = values.bfloat16().float().numpy()
    return features


def _truth(features: Floats, numbers: Numbers) -> Floats:
    """The layers in float64 with what is stored rounded to bf16: (rows, columns, 3)."""
    value: Tensor = torch.from_numpy(features).double().permute(2, 0, 1)[None]
    for index, (weight, bias) in enumerate(numbers):
        if index < len(numbers) - 2:
            value = nn.functional.interpolate(value, scale_factor=2, mode="nearest")
        kernel, offset = torch.from_numpy(weight).double(), torch.from_numpy(bias).double()
        value = nn.functional.conv2d(value, kernel, offset, padding=1)
        if index < len(numbers) - 1:
            value = nn.functional.leaky_relu(value, _SLOPE).bfloat16().double()
    truth: Floats = value[0].permute(1, 2, 0).numpy()
    return truth


def _tail(enlargements: int) -> Tail:
    return packed_tail(_numbers(enlargements), [_SLOPE] * (enlargements + 1))


def _computed(made: Tail, features: Floats, threads: int, strips: int) -> Floats:
    height, width, _ = features.shape
    plan = TailPlan(width, height, len(made.enlarging))
    spaces = [
        (aligned((plan.kept_values,), np.uint16), aligned((plan.row_values,), np.float32))
        for _ in range(threads)
    ]
    bits, parts = to_bfloats(features), []
    for first in range(0, height, strips):
        stop = min(height, first + strips)
        part = np.full(((stop - first) * made.factor, width * made.factor, 3), np.nan, np.float32)
        compute(made, bits, first, stop, spaces, part)
        parts.append(part)
    return np.concatenate(parts)


@needs_amx
@pytest.mark.parametrize(
    ("enlargements", "height", "width"), [(0, 5, 33), (1, 1, 1), (2, 12, 64), (3, 5, 33)]
)
def test_equal_to_the_layers(enlargements: int, height: int, width: int) -> None:
    features = _features(height, width)
    got = _computed(_tail(enlargements), features, threads=2, strips=height)
    expected = _truth(features, _numbers(enlargements))
    assert got.shape == expected.shape
    error = np.abs(got - expected)
    # A stored value that lies between two is now and then rounded to the other one, and changes its
    # neighbours' sums; most are those of float32 sums with weights of 16 bits.
    assert error.max() < 2**-8 * np.abs(expected).max()
    assert np.median(error) < 2**-13 * np.abs(expected).max()


@needs_amx
@pytest.mark.parametrize(("height", "width"), [(1, 40), (9, 3), (31, 45)])
def test_strips_bands_and_threads_change_nothing(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, made = _features(height, width), _tail(2)
    whole = _computed(made, features, threads=1, strips=height)
    for shares, threads, strips in ((1, 2, 1), (2, 3, 7), (9, 5, height)):
        monkeypatch.setattr(tail, "_BANDS_PER_THREAD", shares)
        assert np.array_equal(_computed(made, features, threads, strips), whole)


@needs_amx
@pytest.mark.parametrize(("left", "top"), [(0, 0), (7, 5), (20, 11)])
def test_a_part_is_that_of_the_whole(left: int, top: int) -> None:
    features, made, reach = _features(30, 40), _tail(2), 2
    whole = _computed(made, features, threads=2, strips=30)
    part = _computed(made, features[top : top + 19, left : left + 20], threads=2, strips=4)
    rows, columns = slice(top and reach, 19 - reach), slice(left and reach, 20 - reach)

    def enlarged(part: slice, start: int = 0) -> slice:
        return slice(4 * (part.start + start), 4 * (part.stop + start))

    expected = whole[enlarged(rows, top), enlarged(columns, left)]
    assert np.array_equal(part[enlarged(rows), enlarged(columns)], expected)


@needs_amx
def test_what_is_not_a_number_is_seen() -> None:
    features = _features(10, 40)
    features[4, 20, 3] = np.nan
    result = _computed(_tail(2), features, threads=2, strips=10)
    assert np.isnan(result[16:20, 80:84]).all()
    assert np.isfinite(result[:8]).all()
