"""Dense blocks by the matrix unit: the network's sums, in any order of threads, in any tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imgpipe.upscaling.cpu import dense
from imgpipe.upscaling.cpu.dense import compute, dense_trunk, memory_shape
from imgpipe.upscaling.cpu.layers import Bfloats, Floats, aligned, from_bfloats
from imgpipe_tests.upscaling.cpu import needs_amx

_SLOPE, _SCALE = 0.2, 0.2


def _numbers(blocks: int) -> list[tuple[Floats, Floats]]:
    rng = np.random.default_rng(blocks)
    made = []
    for _ in range(blocks):
        for inputs, outputs in ((64, 32), (96, 32), (128, 32), (160, 32), (192, 64)):
            weight = rng.normal(0, (1.6 / inputs / 9) ** 0.5, (outputs, inputs, 3, 3)).astype(np.float32)
            made.append((weight, rng.normal(0, 0.1, outputs).astype(np.float32)))
    return made


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().double()


def _truth(features: Tensor, numbers: list[tuple[Floats, Floats]]) -> Tensor:
    """ESRGAN's blocks in float64 with what is stored rounded to bf16; ``features``: (64, h, w)."""
    parts = [(_rounded(torch.from_numpy(w)), torch.from_numpy(b).double()) for w, b in numbers]
    value = start = features[None]
    for block in range(len(parts) // 5):
        known = value
        for index in range(4):
            weight, bias = parts[block * 5 + index]
            made = nn.functional.leaky_relu(nn.functional.conv2d(known, weight, bias, padding=1), _SLOPE)
            known = torch.cat([known, _rounded(made)], 1)
        weight, bias = parts[block * 5 + 4]
        value = nn.functional.conv2d(known, weight, bias, padding=1) * _SCALE + value
        if block % 3 == 2:
            value = value * _SCALE + start
            start = _rounded(value)
        value = _rounded(value)
    return value[0]


def _computed(features: Tensor, numbers: list[tuple[Floats, Floats]], threads: int) -> tuple[Floats, Bfloats]:
    _, height, width = features.shape
    memory: Bfloats = aligned(memory_shape(width, height), np.uint16)
    bits = features.permute(1, 2, 0).bfloat16().contiguous().view(torch.int16).numpy().view(np.uint16)
    memory[0, 1:-1, 1 : width + 1, :64] = bits
    piece = compute(dense_trunk(numbers, _SLOPE), memory, width, height, threads)
    inside = memory[piece, 1:-1, 1 : width + 1, :64]
    return from_bfloats(inside), memory


def _features(height: int, width: int) -> Tensor:
    rng = np.random.default_rng(height * 100 + width)
    return _rounded(torch.from_numpy(rng.normal(0, 1, (64, height, width)).astype(np.float32)))


@needs_amx
@pytest.mark.parametrize(("blocks", "height", "width"), [(1, 1, 1), (2, 5, 33), (3, 20, 64), (4, 5, 33)])
def test_equal_to_the_blocks(blocks: int, height: int, width: int) -> None:
    features, numbers = _features(height, width), _numbers(blocks)
    got, memory = _computed(features, numbers, threads=2)
    expected = _truth(features, numbers).permute(1, 2, 0).numpy()
    error = np.abs(got - expected)
    # A stored value that lies between two is now and then rounded to the other one.
    assert error.max() < 2**-7 * np.abs(expected).max()
    assert (error == 0).mean() > 0.85
    outside = memory.copy()
    outside[:, 1:-1, 1 : width + 1] = 0
    assert not outside.any(), "around the picture there is 0 for the next convolution"


@needs_amx
@pytest.mark.parametrize(("height", "width"), [(1, 40), (9, 3), (61, 45)])
def test_bands_and_threads_change_nothing(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, numbers = _features(height, width), _numbers(4)
    whole, _ = _computed(features, numbers, threads=1)
    for pixels, shares, threads in ((1, 1, 2), (200, 2, 3), (5000, 1, 5)):
        monkeypatch.setattr(dense, "_SHARE_PIXELS", pixels)
        monkeypatch.setattr(dense, "_SHARES_PER_THREAD", shares)
        assert np.array_equal(_computed(features, numbers, threads)[0], whole)


@pytest.mark.parametrize("height", [1, 2, 3, 7, 20, 41])
@pytest.mark.parametrize(("pixels", "threads"), [(1, 1), (66, 2), (500, 3)])
def test_what_a_task_reads_is_finished(
    height: int, pixels: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "_SHARE_PIXELS", pixels)
    blocks = 4
    tasks = dense._tasks(blocks, 20, height, threads)
    done_by = np.full((blocks * 5, height), -1)
    for number, (layer, begin, end, _) in enumerate(tasks):
        assert (done_by[layer, begin:end] == -1).all(), "each row once"
        done_by[layer, begin:end] = number
    assert (done_by >= 0).all()
    for number, (layer, begin, end, needed) in enumerate(tasks):
        assert needed <= number, "no task waits for a later one"
        block, index = divmod(int(layer), 5)
        around = slice(max(0, begin - 1), end + 1)
        before = [block * 5 + other for other in range(index)] + ([block * 5 - 1] if block else [])
        assert all((done_by[other, around] < needed).all() for other in before)
        if block > 1:
            assert done_by[: (block - 1) * 5].max() < needed, "their memory is written over"
