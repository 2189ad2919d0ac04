from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from PIL import Image as PillowImage

from imgpipe.errors import InferenceError, ModelError, ModelMismatch, WeightsRefused
from imgpipe.images.image import Image
from imgpipe.matting.matte import NO_SUBJECT
from imgpipe.matting.models import CUSTOM, MODELS, MattingModel
from imgpipe.matting.onnx_model import OnnxMatter, OnnxNetwork
from imgpipe.records import ModelUse, Status
from imgpipe.settings import RembgSettings
from imgpipe_tests.matting.graphs import distance_from, sigmoid_of, weighted, write_graph
from imgpipe_tests.opencv_files import opencv_decode

SIZE = 64


def _settings(**changes: object) -> RembgSettings:
    return RembgSettings.model_validate({"alpha_matting": False, **changes})


def _matter(path: Path, contract: MattingModel = CUSTOM, **changes: object) -> OnnxMatter:
    network = OnnxNetwork(path, contract, device="cpu")
    return OnnxMatter(network, _settings(**changes), ModelUse("tiny", "onnxruntime"))


def _ramp(height: int, width: int) -> Image:
    xs = np.broadcast_to(np.linspace(0, 65535, width), (height, width))
    return Image(np.rint(np.dstack([xs, xs / 2, xs / 4])).astype(np.uint16))


def test_probabilities_come_back_through_the_letterbox(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", weighted(0.5, 0.5, 0.5, 0.05), SIZE))
    image = _ramp(48, 96)
    coarse = matter.coarse(image, matter.answer([image])[0])
    expected = 0.05 + 0.5 * 1.75 * np.linspace(0, 1, 96)
    error = np.abs(coarse.alpha[:, 3:-3] - expected[3:-3])
    assert error.max() < 1e-5, f"max {error.max():.2e}"
    # Nothing is stretched to its own range: the smallest probability is not 0, the largest not 1.
    assert coarse.alpha.min() > 0.04
    assert coarse.evidence == pytest.approx(coarse.alpha.max(), abs=0.01)


@pytest.mark.parametrize("name", ["isnet-anime", "u2net", "isnet-general-use"])
def test_every_model_is_fed_as_its_authors_do(tmp_path: Path, name: str) -> None:
    contract = MODELS[name]
    tiny = MattingModel(name, SIZE, contract.author, contract.rembg, contract.rembg_clips)
    matter = _matter(write_graph(tmp_path / "g.onnx", sigmoid_of(1, 2, 3, 0.5), SIZE), tiny)
    colour = np.array([51, 102, 204])
    image = Image(np.broadcast_to(colour.astype(np.uint8), (32, 64, 3)).copy())
    fed = {
        "isnet-anime": colour / 255,
        "u2net": (colour / 204 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "isnet-general-use": colour / 255 - 0.5,
    }[name]
    expected = 1 / (1 + np.exp(-(fed @ [1, 2, 3] + 0.5)))
    coarse = matter.coarse(image, matter.answer([image])[0])
    np.testing.assert_allclose(coarse.alpha, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["isnet-anime", "u2net", "isnet-general-use"])
@pytest.mark.parametrize("file", ["anime-girl-1.jpg", "frame-048.png"])
def test_rembg_mode_makes_rembgs_mask(
    tmp_path: Path, shared: Path, name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rembg.sessions.dis_anime import DisSession
    from rembg.sessions.dis_general_use import DisSession as GeneralSession
    from rembg.sessions.u2net import U2netSession

    session_types: dict[str, Any] = {
        "isnet-anime": DisSession,
        "isnet-general-use": GeneralSession,
        "u2net": U2netSession,
    }
    contract = MODELS[name]
    path = write_graph(tmp_path / "g.onnx", sigmoid_of(2.0, -3.0, 2.5, -0.3), contract.size)

    monkeypatch.setattr(session_types[name], "download_models", lambda *args, **kwargs: str(path))
    options = onnxruntime.SessionOptions()
    session = session_types[name](name, options, providers=["CPUExecutionProvider"])
    picture = PillowImage.open(shared / "data/anime" / file).convert("RGB")
    theirs = np.asarray(session.predict(picture)[0])
    matter = _matter(path, contract, preprocess="rembg")
    image = Image(np.asarray(picture).copy())
    ours = matter.coarse(image, matter.answer([image])[0]).alpha * 255
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1, f"max {difference.max():.2f}/255, mean {difference.mean():.4f}/255"
    assert theirs.std() > 10


@pytest.mark.parametrize("preprocess", ["author", "rembg"])
def test_no_subject_is_a_status_and_not_a_stretched_mask(tmp_path: Path, preprocess: str) -> None:
    faint = write_graph(tmp_path / "g.onnx", weighted(0.0003, 0, 0), SIZE)
    matte = _matter(faint, preprocess=preprocess).matte(_ramp(40, 60))
    assert matte.status is Status.REJECTED
    assert matte.reasons[0] == NO_SUBJECT
    assert matte.reasons[1].startswith("network maximum 0.000")
    assert matte.reasons[1].endswith("at least 0.1 needed")
    assert matte.metrics["subject_evidence"] < 0.001
    assert matte.details["subject"] == "none"
    assert matte.metrics["subject_found"] == 0
    assert not matte.image.pixels.any()
    assert matte.image.pixels.shape == (40, 60, 4)


def test_the_least_probability_of_a_subject_is_a_setting(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(0.3, 0, 0), SIZE)
    found = [_matter(path, subject_minimum=value).matte(_ramp(40, 60)) for value in (0.1, 0.5)]
    assert [matte.details["subject"] for matte in found] == ["found", "none"]
    assert found[1].reasons[1].endswith("at least 0.5 needed")


def test_a_constant_answer_in_rembg_mode_is_no_subject(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(0, 0, 0, 0.7), SIZE)
    matte = _matter(path, preprocess="rembg").matte(_ramp(40, 60))
    assert (matte.status, float(matte.alpha.max())) == (Status.REJECTED, 0.0)
    assert matte.reasons[0] == NO_SUBJECT
    assert "0.7000 everywhere" in matte.reasons[1]


@pytest.mark.parametrize("alpha_matting", [False, True])
def test_all_subject_keeps_every_pixel(tmp_path: Path, alpha_matting: bool) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(0, 0, 0, 1.0), SIZE)
    image = _ramp(40, 60)
    matte = _matter(path, alpha_matting=alpha_matting).matte(image)
    assert matte.status is Status.OK
    assert (matte.metrics["foreground_share"], matte.metrics["soft_share"]) == (1.0, 0.0)
    np.testing.assert_array_equal(matte.image.pixels[..., :3], image.pixels)


def test_a_network_that_sees_colour_cuts_out_a_disc(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", distance_from((1.0, 1.0, 1.0), 0.5), 256)
    canvas = np.full((4 * 150, 4 * 200, 3), 255, np.uint8)
    cv2.circle(canvas, (400, 300), 180, (200, 40, 60), -1)
    truth = cv2.resize((canvas[..., 1] == 40).astype(np.float32), (200, 150), interpolation=cv2.INTER_AREA)
    picture = np.asarray(cv2.resize(canvas, (200, 150), interpolation=cv2.INTER_AREA), np.uint8)
    # The padding is black, far from white: only un-letterboxing keeps it out of the answer.
    matte = _matter(path, alpha_matting=True).matte(Image(picture))
    error = np.abs(matte.alpha - truth)
    assert error.sum() < 12, f"SAD {error.sum():.2f} px, max {error.max():.3f}"
    assert matte.metrics["foreground_share"] == pytest.approx(truth.mean(), abs=1e-3)


def test_a_free_batch_takes_several_pictures_in_one_call(tmp_path: Path) -> None:
    single = _matter(write_graph(tmp_path / "one.onnx", sigmoid_of(1, 1, 1), SIZE))
    batched = _matter(write_graph(tmp_path / "many.onnx", sigmoid_of(1, 1, 1), SIZE, batch="n"))
    images = [_ramp(40, 60), _ramp(60, 40), _ramp(8, 8)]
    for one, other in zip(images, batched.matte_all(images), strict=True):
        np.testing.assert_allclose(single.matte(one).alpha, other.alpha, atol=1e-6)
    assert batched.matte_all([]) == []


def test_openvino_and_onnxruntime_agree(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    for name, nodes in (("sigmoid", sigmoid_of(3, -2, 1)), ("distance", distance_from((0.2, 0.9, 0.4), 2.0))):
        path = write_graph(tmp_path / f"{name}.onnx", nodes, SIZE)
        ours = OnnxNetwork(path, CUSTOM, device="cpu")
        assert ours.runtime == "openvino"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        theirs = session.run(None, {session.get_inputs()[0].name: values})[0][0, 0]
        difference = np.abs(ours.run([values[0]])[0] - theirs).max()
        assert difference <= 1e-5, f"{name}: {difference:.1e}"
        assert theirs.std() > 0.02


def test_threads_share_a_session(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", sigmoid_of(3, -2, 1), SIZE), alpha_matting=True)
    images = [_ramp(40 + k, 60) for k in range(8)]
    alone = [matter.matte(image).alpha for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = [matte.alpha for matte in pool.map(matter.matte, images)]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_logits_are_refused(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", weighted(9, 0, 0, -4), SIZE))
    with pytest.raises(ModelMismatch, match="sigmoid"):
        matter.matte(_ramp(40, 60))


def test_nan_is_an_inference_error(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", weighted(float("nan"), 0, 0), SIZE))
    with pytest.raises(InferenceError, match="NaN"):
        matter.matte(_ramp(40, 60))


def test_another_size_than_the_contracts_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE)
    with pytest.raises(ModelMismatch, match="expected 1024x1024 px"):
        OnnxNetwork(path, MODELS["isnet-anime"], device="cpu")


def test_a_fixed_batch_of_several_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE, batch=4)
    with pytest.raises(ModelMismatch, match="batch 1"):
        OnnxNetwork(path, CUSTOM, device="cpu")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsRefused, match=r"g\.onnx"):
        OnnxNetwork(tmp_path / "g.onnx", CUSTOM, device="cpu")


def test_a_cpu_where_a_gpu_was_expected_is_told_with_each_matte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.inference.onnx_file.gpu_is_expected", lambda: True)
    monkeypatch.setattr("imgpipe.inference.onnx_file.missing_cuda", lambda: "there is none")
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE)
    with pytest.raises(ModelError, match="device is cuda, but there is none"):
        OnnxNetwork(path, CUSTOM, device="cuda")
    network = OnnxNetwork(path, CUSTOM, device="auto")
    matter = OnnxMatter(network, _settings(), ModelUse("tiny", network.runtime, device=network.device))
    assert matter.matte(_ramp(40, 60)).reasons == ("device auto is the CPU: there is none",)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_real_weights_when_present(name: str, shared: Path) -> None:
    import os

    folder = os.environ.get("IMGPIPE_TEST_MODEL_DIR", "")
    path = Path(folder) / f"{name}.onnx"
    if not folder or not path.is_file():
        pytest.skip(f"{name}.onnx is not in IMGPIPE_TEST_MODEL_DIR ({folder or 'unset'})")
    drawings = shared / "data/anime"
    picture = opencv_decode((drawings / "anime-girl-1.jpg").read_bytes())[..., ::-1]
    matted = (drawings / "anime-girl-1.isnet-anime.png").read_bytes()
    published = opencv_decode(matted, cv2.IMREAD_UNCHANGED)
    image = Image(np.ascontiguousarray(picture))
    matter = _matter(path, MODELS[name], alpha_matting=True)
    matte = matter.matte(image)
    assert matte.metrics["subject_evidence"] > 0.5
    if name == "isnet-anime":
        one, other = matte.alpha >= 0.5, published[..., 3] >= 128
        assert (one & other).sum() / (one | other).sum() > 0.9
