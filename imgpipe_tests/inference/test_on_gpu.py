"""What only a GPU can show. Skipped without one; ``make gpu`` runs it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

from imgpipe.images.image import Image
from imgpipe.inference.device import resolve_device
from imgpipe.inference.onnx_file import open_onnx
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.inference.weights import LocatedWeights
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling import device_network
from imgpipe.upscaling.device_network import TorchDeviceNetwork
from imgpipe.upscaling.network import LoadedNetwork, ReceptiveField
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe.upscaling.quantising_network import QuantisingNetwork
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


@pytest.mark.parametrize("scale", [4, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_pictures_of_several_threads_are_the_cpus(
    channels: int, scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams, the ring, and what is finished on the device; the ring has room for one picture."""
    monkeypatch.setattr(device_network, "RING_BYTES", 1)
    settings, located = UpscaleSettings(scale=scale), LocatedWeights("test", Path("test"), "", None)
    upscalers = []
    for device, kind in (("cuda", TorchDeviceNetwork), ("cpu", QuantisingNetwork)):
        network = kind(_network(device))
        field, memory = ReceptiveField(18, "computed"), network.memory_model()
        loaded = LoadedNetwork(network, "test", "torch", "test", field, memory)
        upscalers.append(NetworkUpscaler(loaded, settings, located))
    rng = np.random.default_rng(0)
    images = [Image(rng.integers(0, 256, (96, 80 + n % 3, channels), np.uint8)) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        on_gpu = list(pool.map(upscalers[0].upscale, images))
    for image, done in zip(images, on_gpu, strict=True):
        expected = upscalers[1].upscale(image).image.pixels.astype(int)
        difference = np.abs(done.image.pixels - expected)
        assert difference.max() <= 1, f"max {difference.max()}"
        assert (difference > 0).mean() < 1e-3
