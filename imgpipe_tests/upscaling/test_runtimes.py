"""Runtimes of one precision agree within the bounds that docs/upscaling.md states."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import PIL.Image
import pytest
import torch

from imgpipe.errors import ModelMismatch
from imgpipe.inference.openvino_network import Graph, library, of_module
from imgpipe.inference.torch_network import TorchNetwork, cast_whole
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import spandrel_network
from imgpipe.upscaling.network import NATIVE_MAX, Floats, Native, Network
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.quantising_network import QuantisingNetwork
from imgpipe_tests.upscaling.conftest import tiny_compact

#: fp32: the largest difference of two runtimes in 0..1; a level of 8 bits is 390 times as much.
FP32_BOUND = 1e-5
#: bf16: what each runtime keeps of fp32, and two of each other, dB.
BF16_BOUND_DB = 54


@pytest.fixture
def window(shared: Path) -> Floats:
    with PIL.Image.open(shared / "data" / "anime" / "frame-048.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))[100:124, 100:132]
    return np.ascontiguousarray(pixels[None], np.float32) / np.float32(255)


def _levels(network: Network, window: Floats) -> Native:
    return np.concatenate([strip.levels for strip in network.strips(window)], axis=1)


def _psnr_db(one: Native, other: Native) -> float:
    error = (one.astype(np.float64) - other) / NATIVE_MAX
    return float(-10 * np.log10((error**2).mean()))


def _by_onnxruntime(module: torch.nn.Module, window: Floats, path: Path) -> Native:
    example = torch.from_numpy(window).permute(0, 3, 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no other package is the older one
        torch.onnx.export(module, (example,), str(path), dynamo=False, input_names=["x"], opset_version=17)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": example.numpy()})[0]
    levels: Native = (np.clip(result, 0, 1).transpose(0, 2, 3, 1) * NATIVE_MAX + 0.5).astype(np.uint16)
    return levels


@pytest.mark.shared
@pytest.mark.parametrize("name", ["realesr-animevideov3", "realesrgan-anime-6b"])
def test_runtimes_agree(name: str, shared: Path, window: Floats, tmp_path: Path) -> None:
    path = shared / "models" / f"{name}.safetensors"
    located = LocatedWeights(name, path, "0" * 64, None)
    module, form = spandrel_network._module_and_form(spandrel_network._read(path))
    full = spandrel_network.load_network(located, device="cpu", precision="fp32")
    assert full.runtime == "openvino"
    of_torch = {
        precision: QuantisingNetwork(
            TorchNetwork(module, scale=4, device="cpu", precision=precision, form=form)
        )
        for precision in ("fp32", "bf16")
    }
    truth = _levels(of_torch["fp32"], window)
    others = {
        "openvino": _levels(full.network, window),
        "onnxruntime": _by_onnxruntime(module, window, tmp_path / "network.onnx"),
    }
    for runtime, levels in others.items():
        difference = np.abs(levels.astype(int) - truth).max() / NATIVE_MAX
        assert difference <= FP32_BOUND + 1 / NATIVE_MAX, f"{runtime}: {difference:.1e}"
    low = spandrel_network.load_network(located, device="cpu", precision="bf16")
    lows = {low.runtime: _levels(low.network, window), "torch": _levels(of_torch["bf16"], window)}
    for runtime, levels in lows.items():
        psnr_db = _psnr_db(levels, truth)
        assert psnr_db >= BF16_BOUND_DB, f"bf16 by {runtime} against fp32: {psnr_db:.1f} dB"
    between_db = _psnr_db(*lows.values()) if len(lows) == 2 else np.inf
    assert between_db >= BF16_BOUND_DB, f"{list(lows)} in bf16: {between_db:.1f} dB apart"


def test_what_openvino_cannot_run_is_run_by_torch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(torch.nn.Module):
        """Its output depends on the size in Python: tracing keeps the example's."""

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            brighter = pixels + 0.25 if pixels.shape[-1] % 2 else pixels
            return torch.nn.functional.interpolate(brighter, scale_factor=2, mode="nearest")

    network, reasons = spandrel_network._chosen(Odd(), cast_whole, 2, "cpu", "fp32")
    assert network.runtime == "torch"
    assert "not OpenVINO: its result differs" in reasons[0]

    def refuse(*_: object) -> None:
        raise ModelMismatch("no conversion")

    monkeypatch.setattr(spandrel_network, "of_module", refuse)
    network, reasons = spandrel_network._chosen(tiny_compact(), CompactForm, 4, "cpu", "bf16")
    assert (network.runtime, network.precision) == ("torch", "bf16")
    assert reasons == ("torch runs the network, not OpenVINO: no conversion",)


@pytest.mark.parametrize("end", ["pixel shuffle", "depth to space"])
def test_levels_and_means_are_those_of_the_floats(end: str) -> None:
    """The quantisation in the graph, on values on both sides of 0, 1 and of rounding."""
    from imgpipe.inference.memory_model import ASSUMED_MEMORY
    from imgpipe.upscaling.graph_loops import GraphLoops, with_levels
    from imgpipe.upscaling.network import WHOLE, strip_of

    class Enlarge(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pixel_shuffle(pixels.repeat_interleave(4, 1), 2)

    model = of_module(Enlarge(), torch.zeros(1, 3, 4, 4))
    if end == "depth to space":
        op = library().opset13
        pixels = op.parameter([-1, 3, -1, -1], np.float32)
        shuffled = op.depth_to_space(op.concat([pixels] * 4, 1), "blocks_first", 2)
        model = library().Model([shuffled], [pixels])
    loops = GraphLoops(Graph(with_levels(model, 2)), 2, ASSUMED_MEMORY, (), WHOLE)
    window = np.random.default_rng(0).uniform(-0.1, 1.1, (2, 33, 21, 3)).astype(np.float32)
    ((strip, finite),) = loops.strips(window)
    expected = strip_of(np.repeat(np.repeat(window, 2, 1), 2, 2), 2)
    assert finite
    assert np.array_equal(strip.levels, expected.levels)
    # The means of what ends in a shuffle are those of the levels, half a level off at most.
    np.testing.assert_allclose(strip.mean, expected.mean, atol=1e-6 if end == "pixel shuffle" else 8e-6)
    for bad in (np.nan, np.inf):
        window[1, 5, 5, 0] = bad
        assert not next(loops.strips(window))[1]
