"""Precision, NaN and memory of a network on one window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imgpipe.errors import InferenceError
from imgpipe.inference.failures import is_out_of_memory
from imgpipe.inference.torch_network import TorchNetwork, peak_tensor_bytes


class Enlarge(nn.Module):
    """A 3x3 convolution, then nearest-neighbour by 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        result: Tensor = nn.functional.interpolate(self.conv(pixels), scale_factor=2, mode="nearest")
        return result


class OverflowsInHalf(Enlarge):
    """Its inner values pass 65504, the largest fp16 number."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) * 1e6 / 1e6


@pytest.fixture
def window() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((9, 14, 3), dtype=np.float32)


def test_fp32_is_the_module_itself(window: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    module = Enlarge()
    expected = module(torch.from_numpy(window).permute(2, 0, 1)[None]).detach()[0].permute(1, 2, 0)
    result = TorchNetwork(module, scale=2, device="cpu", precision="fp32")(window)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_bf16_is_near_and_comes_back_as_float32(
    window: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    full = TorchNetwork(Enlarge(), scale=2, device="cpu", precision="fp32")(window)
    low = TorchNetwork(Enlarge(), scale=2, device="cpu", precision="bf16")
    result = low(window)
    assert result.dtype == torch.float32
    assert 0 < (result - full).abs().max() < 0.02
    assert low.take_retries() == 0


def test_infinity_in_fp16_is_computed_again_in_fp32(
    window: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    expected = TorchNetwork(OverflowsInHalf(), scale=2, device="cpu", precision="fp32")(window)
    network = TorchNetwork(OverflowsInHalf(), scale=2, device="cpu", precision="fp16")
    torch.testing.assert_close(network(window), expected, atol=0, rtol=0)
    assert network.take_retries() == 1
    assert network.take_retries() == 0


def test_nan_in_fp32_is_an_error(window: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    module = Enlarge()
    with torch.no_grad():
        for bias in (values for name, values in module.named_parameters() if name == "conv.bias"):
            bias.fill_(float("nan"))
    with pytest.raises(InferenceError, match="NaN or infinity in fp32"):
        TorchNetwork(module, scale=2, device="cpu", precision="bf16")(window)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_recognised(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_peak_bytes_of_a_known_chain() -> None:
    # input 3 + convolution 3 channels, then 3 + 12 for nearest by 2, float32: the input is still held.
    pixels = 64 * 32
    assert peak_tensor_bytes(Enlarge(), 64, 32) == (3 + 3 + 12) * pixels * 4


def test_memory_model_answers_what_fits() -> None:
    memory = TorchNetwork(Enlarge(), scale=2, device="cpu", precision="fp32").memory_model()
    pixels = memory.fitting_pixels(10**8)
    assert memory.needed_bytes(pixels) <= 10**8 < memory.needed_bytes(pixels + 1000)
    assert memory.fitting_pixels(0) == 0
