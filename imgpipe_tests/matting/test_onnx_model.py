from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image as PillowImage

from imgpipe.errors import InferenceError, ModelError, ModelMismatch
from imgpipe.images.image import Image
from imgpipe.inference.weights import REGISTRY, names_for
from imgpipe.matting.matte import NO_SUBJECT
from imgpipe.matting.onnx_model import OnnxMatter, OnnxNetwork
from imgpipe.records import ModelUse, Status
from imgpipe.settings import RembgSettings
from imgpipe.settings.contracts import CONTRACTS, Contract
from imgpipe_tests.matting.graphs import (
    Nodes,
    distance_from,
    resized,
    sigmoid_of,
    tiny,
    weighted,
    write_graph,
)
from imgpipe_tests.opencv_files import opencv_decode

SIZE = 64


def _settings(**changes: object) -> RembgSettings:
    return RembgSettings.model_validate({"alpha_matting": False, **changes})


def _matter(path: Path, contract: Contract | None = None, **changes: object) -> OnnxMatter:
    network = OnnxNetwork(path, contract or tiny(), device="cpu")
    return OnnxMatter(network, _settings(**changes), ModelUse("tiny", "onnxruntime"))


def _ramp(height: int, width: int) -> Image:
    xs = np.broadcast_to(np.linspace(0, 65535, width), (height, width))
    return Image(np.rint(np.dstack([xs, xs / 2, xs / 4])).astype(np.uint16))


def test_probabilities_come_back_through_the_letterbox(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", weighted(0.5, 0.5, 0.5, 0.05), SIZE))
    image = _ramp(48, 96)
    coarse = matter.coarse(image, matter.answer(image))
    expected = 0.05 + 0.5 * 1.75 * np.linspace(0, 1, 96)
    error = np.abs(coarse.alpha[:, 3:-3] - expected[3:-3])
    assert error.max() < 1e-5, f"max {error.max():.2e}"
    # Nothing is stretched to its own range: the smallest probability is not 0, the largest not 1.
    assert coarse.alpha.min() > 0.04
    assert coarse.evidence == pytest.approx(coarse.alpha.max(), abs=0.01)


@pytest.mark.parametrize("name", ["isnet-anime", "u2net", "isnet", "ben2", "rmbg", "birefnet", "modnet"])
def test_every_model_is_fed_as_its_authors_do(tmp_path: Path, name: str) -> None:
    contract = resized(name, SIZE)
    nodes = (weighted if contract.output == "logits" else sigmoid_of)(1, 2, 3, 0.5)
    side = SIZE if contract.fit != "multiple" else "free"
    matter = _matter(write_graph(tmp_path / "g.onnx", nodes, side), contract)
    colour = np.array([51, 102, 204])
    image = Image(np.broadcast_to(colour.astype(np.uint8), (32, 64, 3)).copy())
    fed = {
        "isnet-anime": colour / 255,
        "u2net": (colour / 204 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "isnet": colour / 255 - 0.5,
        "ben2": colour / 255,
        "rmbg": (colour / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "birefnet": (colour / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "modnet": (colour - 127.5) / 127.5,
    }[name]
    expected = 1 / (1 + np.exp(-(fed @ [1, 2, 3] + 0.5)))
    coarse = matter.coarse(image, matter.answer(image))
    np.testing.assert_allclose(coarse.alpha, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "module", "session"),
    [
        ("isnet-anime", "dis_anime", "DisSession"),
        ("isnet", "dis_general_use", "DisSession"),
        ("u2net", "u2net", "U2netSession"),
        ("birefnet", "birefnet_general", "BiRefNetSessionGeneral"),
        ("ben2", "ben_custom", "BenCustomSession"),
        ("rmbg", "bria_rmbg", "BriaRmBgSession"),
    ],
)
@pytest.mark.parametrize("file", ["anime-girl-1.jpg", "frame-048.png"])
def test_rembg_mode_makes_rembgs_mask(
    tmp_path: Path,
    shared: Path,
    name: str,
    module: str,
    session: str,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = getattr(importlib.import_module(f"rembg.sessions.{module}"), session)
    contract = CONTRACTS[name]
    nodes = (weighted if contract.output == "logits" else sigmoid_of)(2.0, -3.0, 2.5, -0.3)
    path = write_graph(tmp_path / "g.onnx", nodes, cast(int, contract.size))
    monkeypatch.setattr(kind, "download_models", lambda *args, **kwargs: str(path))
    options = onnxruntime.SessionOptions()
    theirs_session = kind(name, options, providers=["CPUExecutionProvider"], model_path=str(path))
    picture = PillowImage.open(shared / "data/anime" / file).convert("RGB")
    theirs = np.asarray(theirs_session.predict(picture)[0])
    matter = _matter(path, contract, preprocess="rembg")
    image = Image(np.asarray(picture).copy())
    ours = matter.coarse(image, matter.answer(image)).alpha * 255
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1, f"max {difference.max():.2f}/255, mean {difference.mean():.4f}/255"
    assert theirs.std() > 10


@pytest.mark.slow
@pytest.mark.parametrize("file", ["anime/anime-girl-1.jpg", "sr/anime-186.png"])
def test_a_real_isnets_mask_is_rembgs(shared: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """IMGPIPE_TEST_ISNET: an IS-Net that is fed as isnet-general-use."""
    path = Path(os.environ.get("IMGPIPE_TEST_ISNET", ""))
    if not path.is_file():
        pytest.skip("IMGPIPE_TEST_ISNET names no file")
    kind = importlib.import_module("rembg.sessions.dis_general_use").DisSession
    monkeypatch.setattr(kind, "download_models", lambda *args, **kwargs: str(path))
    options = onnxruntime.SessionOptions()
    session = kind("isnet-general-use", options, providers=["CPUExecutionProvider"], model_path=str(path))
    picture = PillowImage.open(shared / "data" / file).convert("RGB")
    theirs = np.asarray(session.predict(picture)[0])
    matter = _matter(path, CONTRACTS["isnet"], preprocess="rembg")
    image = Image(np.asarray(picture).copy())
    difference = np.abs(np.rint(matter.coarse(image, matter.answer(image)).alpha * 255) - theirs)
    # Two runtimes round otherwise; where that crosses a level, Lanczos may make two of it.
    assert np.mean(difference > 1) <= 1e-5, (
        f"max {difference.max():.0f}/255, {np.mean(difference > 1):.1e} above"
    )
    assert difference.max() <= 2


@pytest.mark.parametrize("preprocess", ["author", "rembg"])
def test_no_subject_is_a_status_and_not_a_stretched_mask(tmp_path: Path, preprocess: str) -> None:
    faint = write_graph(tmp_path / "g.onnx", weighted(0.0003, 0, 0), 1024)
    matte = _matter(faint, CONTRACTS["isnet-anime"], preprocess=preprocess).matte(_ramp(40, 60))
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
    path = write_graph(tmp_path / "g.onnx", weighted(0, 0, 0, 0.7), 1024)
    matte = _matter(path, CONTRACTS["isnet-anime"], preprocess="rembg").matte(_ramp(40, 60))
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


@pytest.mark.parametrize(
    ("device", "batch", "contract", "size", "expected"),
    [
        ("cuda", "n", "graph", 320, 10),
        ("cuda", "n", "graph", 1024, 1),
        ("cuda", "n", "one", 320, 1),
        ("cuda", 1, "graph", 320, 1),
        ("cpu", "n", "graph", 320, 1),
    ],
)
def test_a_gpu_takes_several_small_inputs_in_one_call(
    tmp_path: Path, device: str, batch: str | int, contract: str, size: int, expected: int
) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid_of(1, 1, 1), size, batch)
    network = OnnxNetwork(path, tiny(batch=contract), device="cpu")
    network.device = device
    assert network.most_together((3, size, size)) == expected


def test_a_batch_gives_each_input_its_own_answer(tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "g.onnx", sigmoid_of(1, 1, 1), SIZE, "n"), tiny())
    inputs = np.random.default_rng(0).random((3, 3, SIZE, SIZE), np.float32)
    np.testing.assert_allclose(
        network.run(list(inputs)), [network.run([one])[0] for one in inputs], atol=1e-6
    )


def test_a_picture_is_finished_while_the_network_has_another(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid_of(3, -2, 1), SIZE)
    network = OnnxNetwork(path, tiny(), device="cpu")
    calls, run, finished = [0], network.run, threading.Event()

    def until_finished(inputs: Sequence[np.ndarray]) -> np.ndarray:
        calls[0] += 1
        assert calls[0] == 1 or finished.wait(30), "the first picture waits for the second"
        return run(inputs)

    network.run = until_finished  # type: ignore[method-assign]
    matter = OnnxMatter(network, RembgSettings(), ModelUse("tiny", "openvino"))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(matter.matte, _ramp(40, 60)) for _ in range(2)]
        wait(jobs, return_when=FIRST_COMPLETED)
        finished.set()
        mattes = [job.result() for job in jobs]
    assert {"network", "network_wait", "refine", "foreground"} == set(mattes[0].seconds)
    assert max(matte.seconds["network_wait"] for matte in mattes) > 0


def test_openvino_and_onnxruntime_agree(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    for name, nodes in (("sigmoid", sigmoid_of(3, -2, 1)), ("distance", distance_from((0.2, 0.9, 0.4), 2.0))):
        path = write_graph(tmp_path / f"{name}.onnx", nodes, SIZE)
        ours = OnnxNetwork(path, tiny(), device="cpu")
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


def test_a_contract_with_the_wrong_output_is_refused(tmp_path: Path) -> None:
    logits = write_graph(tmp_path / "l.onnx", weighted(9, 0, 0, -4), SIZE)
    with pytest.raises(ModelMismatch, match=r"probabilities in 0..1, got -4..5; .* is it logits\?"):
        _matter(logits).matte(_ramp(40, 60))
    probabilities = write_graph(tmp_path / "p.onnx", sigmoid_of(9, 0, 0, -4), SIZE)
    with pytest.raises(ModelMismatch, match=r"logits, .* is it probability\?"):
        _matter(probabilities, tiny(output="logits")).matte(_ramp(40, 60))


def test_half_precision_in_and_out(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, SIZE, SIZE), dtype=np.float32)
    path = write_graph(tmp_path / "h.onnx", weighted(4, -3, 2, -1), SIZE, half=True)
    answer = OnnxNetwork(path, tiny(output="logits"), device="cpu").run([values])[0]
    expected = 1 / (1 + np.exp(1 - np.tensordot([4, -3, 2], values, 1)))
    assert answer.dtype == np.float32
    error = np.abs(answer - expected).max()
    assert error < 2e-3, f"max {error:.2e}"  # a float16 of some 4 has steps of 0.004


def test_a_rectangular_input(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(0.5, 0.5, 0.5, 0.05), (32, 96))
    for contract in (tiny(), tiny(size=(96, 32))):
        matter = _matter(path, contract)
        image = _ramp(48, 48)
        answer = matter.answer(image)
        assert answer.raw.shape == (32, 96)
        coarse = matter.coarse(image, answer)
        expected = 0.05 + 0.5 * 1.75 * np.linspace(0, 1, 48)
        error = np.abs(coarse.alpha[:, 3:-3] - expected[3:-3]).max()
        assert error < 1e-4, f"max {error:.2e}"


def test_a_graph_with_two_outputs_needs_to_know_which(tmp_path: Path) -> None:
    def nodes() -> Nodes:
        made, constants = sigmoid_of(1, 1, 1)()
        return [*made, helper.make_node("Neg", ["mask"], ["other"])], constants

    path = write_graph(tmp_path / "two.onnx", nodes, SIZE, outputs=("other", "mask"))
    with pytest.raises(ModelMismatch, match=r"2 outputs \(other, mask\), none is named"):
        OnnxNetwork(path, tiny(), device="cpu")
    for wrong in ("depth", 2, -1):
        with pytest.raises(ModelMismatch, match=f"outputs.*{wrong!r} is asked for"):
            OnnxNetwork(path, tiny(which_output=wrong), device="cpu")
    values = np.full((3, SIZE, SIZE), 0.5, np.float32)
    for right in ("mask", 1):
        answer = OnnxNetwork(path, tiny(which_output=right), device="cpu").run([values])[0]
        np.testing.assert_allclose(answer, 1 / (1 + np.exp(-1.5)), atol=1e-6)


def test_a_graph_with_two_inputs_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "one.onnx", sigmoid_of(1, 1, 1), SIZE)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("trimap", 1, (1, 1, SIZE, SIZE)))
    model.graph.output[0].name = "product"
    model.graph.node.append(helper.make_node("Mul", ["mask", "trimap"], ["product"]))
    onnx.save(model, path)
    with pytest.raises(ModelMismatch, match="one input, got 2"):
        OnnxNetwork(path, tiny(), device="cpu")


def test_four_channels_are_refused(tmp_path: Path) -> None:
    def nodes() -> Nodes:
        return [helper.make_node("ReduceMean", ["img"], ["mask"], axes=[1], keepdims=1)], []

    path = write_graph(tmp_path / "four.onnx", nodes, SIZE)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, path)
    with pytest.raises(
        ModelMismatch, match=r"shape \(batch, 3, height, width\), got float32 \(1, 4, 64, 64\)"
    ):
        OnnxNetwork(path, tiny(), device="cpu")


def test_a_free_size_must_be_stated(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "free.onnx", sigmoid_of(1, 1, 1), "side")
    with pytest.raises(ModelMismatch, match="leaves its size free"):
        OnnxNetwork(path, tiny(), device="cpu")
    assert OnnxNetwork(path, tiny(size=(96, 48)), device="cpu").frame == (48, 96)
    fixed = write_graph(tmp_path / "fixed.onnx", sigmoid_of(1, 1, 1), SIZE)
    with pytest.raises(ModelMismatch, match="expected a free height and width"):
        OnnxNetwork(fixed, CONTRACTS["modnet"], device="cpu")


def test_nan_is_an_inference_error(tmp_path: Path) -> None:
    matter = _matter(write_graph(tmp_path / "g.onnx", weighted(float("nan"), 0, 0), SIZE))
    with pytest.raises(InferenceError, match="NaN"):
        matter.matte(_ramp(40, 60))


def test_another_size_than_the_contracts_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE)
    with pytest.raises(ModelMismatch, match="isnet-anime says 1024x1024 px, the graph says 64x64"):
        OnnxNetwork(path, CONTRACTS["isnet-anime"], device="cpu")


def test_a_fixed_batch_of_several_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE, batch=4)
    with pytest.raises(ModelMismatch, match="batch 1"):
        OnnxNetwork(path, tiny(), device="cpu")


def test_a_cpu_where_a_gpu_was_expected_is_told_with_each_matte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.inference.onnx_file.gpu_is_expected", lambda: True)
    monkeypatch.setattr("imgpipe.inference.onnx_file.missing_cuda", lambda: "there is none")
    path = write_graph(tmp_path / "g.onnx", weighted(1, 0, 0), SIZE)
    with pytest.raises(ModelError, match="device is cuda, but there is none"):
        OnnxNetwork(path, tiny(), device="cuda")
    network = OnnxNetwork(path, tiny(), device="auto")
    matter = OnnxMatter(network, _settings(), ModelUse("tiny", network.runtime, device=network.device))
    assert matter.matte(_ramp(40, 60)).reasons == ("device auto is the CPU: there is none",)


@pytest.mark.parametrize("name", names_for("matting"))
def test_the_real_weights_when_present(name: str, shared: Path) -> None:
    folder = os.environ.get("IMGPIPE_TEST_MODEL_DIR", "")
    path = Path(folder) / REGISTRY[name].filename
    if not folder or not path.is_file():
        pytest.skip(f"{path.name} is not in IMGPIPE_TEST_MODEL_DIR ({folder or 'unset'})")
    drawings = shared / "data/anime"
    picture = opencv_decode((drawings / "anime-girl-1.jpg").read_bytes())[..., ::-1]
    matted = (drawings / "anime-girl-1.isnet-anime.png").read_bytes()
    published = opencv_decode(matted, cv2.IMREAD_UNCHANGED)
    image = Image(np.ascontiguousarray(picture))
    matter = _matter(path, CONTRACTS[REGISTRY[name].contract], alpha_matting=True)
    matte = matter.matte(image)
    assert matte.metrics["subject_evidence"] > 0.5
    if name == "isnet-anime":
        one, other = matte.alpha >= 0.5, published[..., 3] >= 128
        assert (one & other).sum() / (one | other).sum() > 0.9
