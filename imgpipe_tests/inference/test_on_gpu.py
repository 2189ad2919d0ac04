"""What only a GPU can show. Skipped without one; ``make gpu`` runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

from imgpipe.inference.device import resolve_device
from imgpipe.inference.onnx_file import open_onnx
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe_tests.matting.graphs import distance_from, write_graph

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _network(device: str, precision: str = "fp32") -> TorchNetwork:
    torch.manual_seed(0)
    module = SRVGGNetCompact(num_feat=64, num_conv=16, upscale=4)
    return TorchNetwork(module, scale=4, device=device, precision=precision, form=CompactForm)


@pytest.fixture
def window() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((160, 224, 3), dtype=np.float32)


def test_fp32_is_not_tf32(window: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    difference = (_network("cuda")(window).cpu() - _network("cpu")(window)).abs().max()
    assert difference < 1e-5, f"max {difference:.2e}: TF32 is off by 1e-3"


def test_equal_windows_give_equal_results(window: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    network = _network("cuda", "fp16")
    assert torch.equal(network(window), network(window))


def test_a_tile_is_the_whole_to_rounding(window: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    network = _network("cuda")
    whole, tile = network(window), network(window[:, :100])
    difference = (whole[:, : 80 * 4] - tile[:, : 80 * 4]).abs().max()
    assert difference < 1e-5, f"max {difference:.2e}; 0 would be exact"


def test_mattes_are_the_cpus(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", distance_from((1.0, 0.5, 0.0), 0.5), 64)
    values = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    on_gpu, on_cpu = open_onnx(path, "cuda"), open_onnx(path, "cpu")
    np.testing.assert_allclose(on_gpu(values)[0], on_cpu(values)[0], atol=1e-5)


def test_auto_is_the_gpu() -> None:
    assert resolve_device("auto") == "cuda"
