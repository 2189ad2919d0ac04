"""ViTMatte's interface, by small graphs: what it is fed, what becomes of its answer, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as PillowImage

from imgpipe.errors import ConfigError, InferenceError, ModelMismatch
from imgpipe.images.image import Image
from imgpipe.matting.build import build_matter, fingerprint
from imgpipe.matting.matte import CoarseMatte
from imgpipe.matting.refine import finish
from imgpipe.matting.vitmatte import VitMatte
from imgpipe.settings import RembgSettings

SIZE = 64


def _graph(path: Path, weights: tuple[float, ...], shape: tuple[int | str, ...] = (1, 4, SIZE, SIZE)) -> Path:
    """The channels' weighted sum."""
    kernel = np.array(weights, np.float32).reshape(1, len(weights), 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixel_values", "kernel"], ["alphas"])],
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("alphas", TensorProto.FLOAT, (1, 1, *shape[2:]))],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def _scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose red rises to the right, and a trimap in three columns."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(40, 215, width).astype(np.uint8)
    trimap = np.full((height, width), 128, np.uint8)
    trimap[:, : width // 4], trimap[:, -width // 4 :] = 0, 255
    return picture, trimap


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_pixels_are_the_networks_and_known_ones_are_kept(tmp_path: Path, dtype: type) -> None:
    picture, trimap = _scene(48, 100)
    colour: np.ndarray = picture.astype(dtype) * (257 if dtype is np.uint16 else 1)
    alpha = VitMatte(_graph(tmp_path / "g.onnx", (1, 0, 0, 0)), "cpu", {}).alpha(colour, trimap)
    unknown = trimap == 128
    np.testing.assert_array_equal(alpha[~unknown], trimap[~unknown] / 255)
    np.testing.assert_allclose(alpha[unknown], (picture[..., 0] / 255)[unknown], atol=0.02)


def test_it_is_fed_as_rembg_feeds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rembg import matting

    path = _graph(tmp_path / "g.onnx", (0.3, 0.2, 0.1, 0.4))
    picture, trimap = _scene(SIZE, SIZE)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    monkeypatch.setattr(matting, "INPUT_SIZE", SIZE)
    monkeypatch.setattr(matting, "_get_session", lambda variant: session)
    monkeypatch.setattr(matting, "trimap_from_mask", lambda *_: PillowImage.fromarray(trimap))
    theirs = np.asarray(matting.vitmatte_alpha(PillowImage.fromarray(picture), None), np.float32)
    ours = VitMatte(path, "cpu", {}).alpha(picture, trimap) * 255
    unknown = trimap == 128
    assert np.abs(ours - theirs)[unknown].max() <= 1  # rembg cuts to 8 bits


@pytest.mark.parametrize(
    ("weights", "shape"),
    [
        ((1, 0, 0), (1, 3, SIZE, SIZE)),
        ((1, 0, 0, 0), (1, 4, "height", "width")),
        ((1, 0, 0, 0), (1, 4, SIZE, 50)),
        ((1, 0, 0, 0), (2, 4, SIZE, SIZE)),
    ],
)
def test_another_input_is_refused(
    tmp_path: Path, weights: tuple[float, ...], shape: tuple[int | str, ...]
) -> None:
    with pytest.raises(ModelMismatch, match="expected ViTMatte's input"):
        VitMatte(_graph(tmp_path / "g.onnx", weights, shape), "cpu", {})


def test_nan_is_an_inference_error(tmp_path: Path) -> None:
    refiner = VitMatte(_graph(tmp_path / "g.onnx", (float("nan"), 0, 0, 0)), "cpu", {})
    with pytest.raises(InferenceError, match="NaN"):
        refiner.alpha(*_scene(SIZE, SIZE))


def test_the_row_says_what_was_used_and_the_guard_holds(tmp_path: Path) -> None:
    picture, _ = _scene(SIZE, SIZE)
    ramp = np.clip(np.linspace(-1, 2, SIZE), 0, 1)
    coarse = CoarseMatte(np.repeat(ramp[None], SIZE, axis=0).astype(np.float32), 1.0, 1.0)
    settings = RembgSettings(alpha_matting="vitmatte", erode_size=0)
    refiner = VitMatte(_graph(tmp_path / "g.onnx", (1, 0, 0, 0)), "cpu", {"name": "tiny"})
    matte = finish(Image(picture), coarse, settings, {}, refiner)
    assert matte.details["refinement"] == "vitmatte"
    assert matte.details["refiner"] == {"name": "tiny", "runtime": "openvino", "device": "cpu"}
    nothing = VitMatte(_graph(tmp_path / "none.onnx", (0, 0, 0, 0)), "cpu", {})
    assert finish(Image(picture), coarse, settings, {}, nothing).details["refinement"] == "guarded"
    with pytest.raises(ConfigError, match="expected a refiner"):
        finish(Image(picture), coarse, settings, {})


def test_the_refiner_is_built_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    one, other = _graph(tmp_path / "one.onnx", (1, 0, 0, 0)), _graph(tmp_path / "other.onnx", (0, 1, 0, 0))

    def settings(path: Path, method: str = "vitmatte") -> RembgSettings:
        return RembgSettings.model_validate(
            {"model": "classical", "alpha_matting": method, "vitmatte_model": str(path)}
        )

    prints = {fingerprint(settings(path), tmp_path) for path in (one, other)}
    assert len(prints) == 2
    assert fingerprint(settings(one, "auto"), tmp_path) == fingerprint(settings(other, "auto"), tmp_path)
    picture = np.full((SIZE, SIZE, 3), 240, np.uint8)
    picture[16:48, 16:48] = (90, 20, 30)
    matte = build_matter(settings(one), model_dir=tmp_path, device="cpu").matte(Image(picture))
    assert matte.details["refiner"]["name"] == "one"
