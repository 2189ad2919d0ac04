"""ONNX networks with known answers: what is accepted, exact tiles, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imgpipe.errors import ConfigError, ModelMismatch, WeightsRefused
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler, fingerprint
from imgpipe_tests.upscaling.conftest import Picture


def _save(
    path: Path,
    *,
    scale: int = 4,
    radius: int = 3,
    channels: int = 3,
    height: str | int = "h",
    gain: float = 1.0,
    elem_type: int = TensorProto.FLOAT,
) -> Path:
    """A box blur of (2 radius + 1)^2 per channel, zero-padded, then nearest-neighbour by ``scale``."""
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    edge = 2 * radius + 1
    weight = np.full((channels, 1, edge, edge), gain / edge**2, dtype)
    scales = np.array([1, 1, scale, scale], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["blurred"], pads=[radius] * 4, group=channels),
        helper.make_node(
            "Resize",
            ["blurred", "", "scales"],
            ["y"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "blur",
        [helper.make_tensor_value_info("x", elem_type, ["n", channels, height, "w"])],
        [helper.make_tensor_value_info("y", elem_type, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(scales, "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _build(path: Path, **settings: Any) -> Any:
    chosen = UpscaleSettings(model=str(path), color_match=False, **settings)
    return build_upscaler(chosen, model_dir=path.parent, device="cpu")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_known_graph_is_computed(scale: int, tmp_path: Path, picture: Picture) -> None:
    path, image = _save(tmp_path / "blur.onnx", scale=scale), picture(37, 25)
    result = _build(path, scale=scale).upscale(image)
    blurred = cv2.boxFilter(image.pixels.astype(np.float64), -1, (7, 7), borderType=cv2.BORDER_CONSTANT)
    expected = np.repeat(np.repeat(blurred, scale, 0), scale, 1)
    assert np.abs(result.image.pixels - expected).max() < 0.51
    assert (result.model.backend, result.details["runtime"]) == ("onnx", "openvino")
    assert (result.model.precision, result.details["network_scale"]) == ("fp32", scale)
    assert (result.details["receptive_field_px"], result.details["receptive_field_source"]) == (3, "measured")


def test_tiles_are_exact(tmp_path: Path, picture: Picture) -> None:
    path, image = _save(tmp_path / "blur.onnx"), picture(131, 97)
    whole = _build(path, tile_size=0).upscale(image).image.pixels
    for tile in (32, 50, 71):
        for batch in (1, 4):
            tiled = _build(path, tile_size=tile, batch_size=batch).upscale(image)
            assert len(tiled.tile_grid.xs) > 0
            difference = np.abs(tiled.image.pixels.astype(int) - whole)
            assert difference.max() == 0, f"tile {tile}, batch {batch}: {difference.max()}"


def test_half_precision_files_say_so(tmp_path: Path, picture: Picture) -> None:
    path = _save(tmp_path / "half.onnx", elem_type=TensorProto.FLOAT16)
    result = _build(path, precision="fp32").upscale(picture(20, 20))
    assert result.model.precision == "fp16"
    assert any("the file's own, fp16" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 1}, r"one input \(n, 3, h, w\)"),
        ({"height": 64}, "free height and width"),
        ({"gain": 255.0}, r"around 0\.\.1"),
    ],
)
def test_other_networks_are_a_mismatch(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=message):
        _build(_save(tmp_path / "other.onnx", **changes))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "cut.onnx")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(WeightsRefused, match=r"cut\.onnx"):
        _build(path)


def test_the_backend_must_fit_the_file(tmp_path: Path) -> None:
    path = _save(tmp_path / "blur.onnx")
    for backend in ("spandrel", "realesrgan", "dnn_superres"):
        with pytest.raises(ConfigError, match=f"upscale.backend={backend}"):
            _build(path, backend=backend)
    settings, named, formerly = (
        UpscaleSettings(model=str(path), backend=backend) for backend in ("auto", "onnx", "onnxruntime")
    )
    assert fingerprint(settings, tmp_path) == fingerprint(named, tmp_path) == fingerprint(formerly, tmp_path)
