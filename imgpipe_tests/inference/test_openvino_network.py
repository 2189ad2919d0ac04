"""Modules and ONNX files by OpenVINO: results, errors, threads, and what it must not do."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from imgpipe.errors import InferenceError, ModelMismatch, WeightsRefused
from imgpipe.inference.onnx_file import open_onnx
from imgpipe.inference.openvino_network import Graph, library, of_module


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 3, 3, padding=1)).eval()


def test_a_module_is_computed_at_any_size_and_batch() -> None:
    module = _model()
    graph = Graph(of_module(module, torch.zeros(1, 3, 8, 8)))
    for shape in ((1, 3, 8, 8), (3, 3, 5, 17), (1, 3, 1, 1)):
        values = np.random.default_rng(0).random(shape, dtype=np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(graph(values)[0], expected, atol=1e-5)


def test_threads_take_turns() -> None:
    graph = Graph(of_module(_model(), torch.zeros(1, 3, 8, 8)))
    inputs = [np.random.default_rng(k).random((1, 3, 30 + k, 20), dtype=np.float32) for k in range(8)]
    alone = [graph(values)[0] for values in inputs]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(lambda values: graph(values)[0], inputs), strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_input_that_does_not_fit_is_an_inference_error() -> None:
    graph = Graph(of_module(_model(), torch.zeros(1, 3, 8, 8)))
    with pytest.raises(InferenceError, match=r"an input of shape \(1, 4, 8, 8\)"):
        graph(np.zeros((1, 4, 8, 8), np.float32))


def test_what_cannot_be_converted_is_a_mismatch() -> None:
    class Fails(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            raise KeyError("nothing to see")

    with pytest.raises(ModelMismatch, match="cannot convert"):
        of_module(Fails(), torch.zeros(1, 3, 8, 8))


def test_a_precision_that_the_cpu_lacks_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_module(_model(), torch.zeros(1, 3, 8, 8))
    known = library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    with monkeypatch.context() as patched:
        patched.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        with pytest.raises(ModelMismatch, match="no bf16 on this CPU"):
            Graph(model, "bf16")
    for precision in ("bf16", "fp16"):
        if precision.upper() not in known:
            with pytest.raises(ModelMismatch, match=f"no {precision} on this CPU"):
                Graph(model, precision)
    assert Graph(model).precision == "fp32"


def test_its_telemetry_is_never_loaded() -> None:
    code = (
        "import sys\nfrom imgpipe.inference.openvino_network import library\nlibrary().convert_model\n"
        "sys.exit(str([name for name in sys.modules if name.startswith('openvino_telemetry.')] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_data_in_other_files_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "beside").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    for place in ("beside", "../private", str(tmp_path / "private")):
        added = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
        added.external_data.add(key="location", value=place)
        ends = [helper.make_tensor_value_info(name, 1, [1, 4]) for name in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [added]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (folder / "x.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(WeightsRefused, match=f"got tensors in {place}, which its sha256 does not cover"):
            open_onnx(folder / "x.onnx", "cpu")
