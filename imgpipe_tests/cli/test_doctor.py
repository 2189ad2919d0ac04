"""``doctor`` on OpenCV, on the runtime of a weights file, and on stores."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
from onnx import TensorProto, helper

from imgpipe.cli import doctor
from imgpipe.config import Settings
from imgpipe.images.isolation import IsolatedDecoder
from imgpipe.settings import IsolationSettings, RembgSettings, S3Settings, UpscaleSettings
from imgpipe.storage.opening import open_store
from imgpipe_tests.matting import graphs
from imgpipe_tests.storage.faulty_server import error, faulty_server, reverse


def _installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: "5.0" if name in names else "")


def test_one_opencv_with_contrib_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "dnn_superres", object(), raising=False)
    _installed(monkeypatch, "opencv-contrib-python-headless")
    good, found = doctor._opencv()
    assert good
    assert "with dnn_superres" in found


def test_two_opencvs_are_a_failure_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, "opencv-contrib-python-headless", "opencv-python")
    good, found = doctor._opencv()
    assert good is False
    assert "pip uninstall -y opencv-contrib-python-headless opencv-python" in found


def test_an_opencv_without_contrib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "dnn_superres", raising=False)
    _installed(monkeypatch, "opencv-python-headless")
    good, found = doctor._opencv()
    assert good is None
    assert "opencv-contrib-python-headless" in found


def test_what_runs_a_file_is_named_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"x")
    settings = Settings(upscale=UpscaleSettings(model=str(path)))
    assert doctor._model(settings, "upscaling")[1].endswith("read by onnx")
    monkeypatch.setattr("imgpipe.upscaling.build._NEEDED_PACKAGES", {"onnx": ("a_package_nobody_has",)})
    good, found = doctor._model(settings, "upscaling")
    assert good is False
    assert "onnx needs a_package_nobody_has; install imgpipe" in found


def test_each_action_makes_a_picture_and_an_upscaler_is_no_matting_network(tmp_path: Path) -> None:
    size, path = 64, tmp_path / "enlarges.onnx"
    nodes = [
        helper.make_node("Concat", ["img"] * 4, ["four"], axis=1),
        helper.make_node("DepthToSpace", ["four"], ["mask"], blocksize=2),
    ]
    sides = {"img": size, "mask": 2 * size}
    ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, (1, 3, s, s)) for k, s in sides.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "twice", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    helper.set_model_props(model, {"imgpipe.contract": json.dumps({**graphs.TINY, "size": size})})
    onnx.save(model, path)
    wrong = RembgSettings(model=str(path))
    settings = Settings(rembg=wrong, upscale=UpscaleSettings(model="lanczos"))
    assert doctor._model(settings, "matting")[0], "the file is there and says how it is fed"
    good, found = doctor._try(lambda: doctor._action(settings, "rembg"))
    assert good is False
    assert re.search(r"1, 3, 128, 128|3 channels|\(batch, 1", found), found
    assert doctor._action(settings, "upscale")[0]


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_a_session_is_opened_and_why_it_is_not_on_the_gpu_is_told(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("imgpipe.inference.cuda.why_no_gpu", lambda: "the driver shows no GPU")
    monkeypatch.setattr("imgpipe.inference.onnx_file.gpu_is_expected", lambda: True)
    good, found = doctor._try(lambda: doctor._onnx(Settings(device=device)))
    assert good is (device != "cuda")
    assert ("the driver shows no GPU" in found) is (device != "cpu")
    assert ("openvino" in found) is (device != "cuda")


def test_a_gpu_that_a_library_cannot_use_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgpipe.inference.onnx_file.gpu_is_expected", lambda: True)
    monkeypatch.setattr(doctor, "why_cpu", lambda setting, device: ("device auto is the CPU: x",))
    for there in (True, False):
        monkeypatch.setattr(doctor, "gpu_is_there", lambda there=there: there)
        assert doctor._device(Settings())[0] is not there
        assert doctor._onnx(Settings())[0] is not there


def test_two_onnxruntimes_are_a_failure_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    good, found = doctor._onnx(Settings())
    assert good is False
    assert "pip uninstall -y onnxruntime`" in found


def test_a_folder_can_be_written(tmp_path: Path) -> None:
    assert doctor._store(str(tmp_path), Settings(), write=True) == (True, f"{tmp_path} can be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.server
@pytest.mark.parametrize(
    ("server", "good", "words"),
    [
        ("honours it", True, "can be written"),
        ("ignores it", None, "the server ignores If-None-Match: two planners.*overwrite each other"),
        ("refuses it", False, "the server lacks conditional writes"),
        ("lists backwards", None, "does not list by key; set s3.listing_order=unsorted"),
        ("is known to list backwards", True, "can be written$"),
    ],
)
def test_what_a_server_must_know_is_tried(
    s3: S3Settings, bucket: str, server: str, good: bool | None, words: str
) -> None:
    with faulty_server(str(s3.endpoint_url)) as started:
        if server == "ignores it":
            started.dropped.add("if-none-match")
        elif server == "refuses it":
            started.spoil("PUT", "", error(501, "NotImplemented"))
        elif server.endswith("backwards"):
            started.spoil("GET", "list-type=2", reverse)
        order: Any = "unsorted" if "known" in server else "auto"
        settings = Settings(s3=S3Settings(endpoint_url=started.url, region="us-east-1", listing_order=order))
        found = doctor._try(lambda: doctor._store(f"s3://{bucket}/out", settings, write=True))
    assert found[0] is good
    assert re.search(words, found[1])
    assert list(open_store(f"s3://{bucket}/", s3).list()) == []


def test_what_keeps_a_decoding_worker_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    good, found = doctor._isolation(Settings())
    assert good or "not confined" in found
    monkeypatch.setattr(IsolatedDecoder, "missing", lambda _: ("Landlock: Function not implemented",))
    good, found = doctor._isolation(Settings())
    assert good is None
    assert "not confined: Landlock: Function not implemented; decode files of strangers" in found
    good, found = doctor._isolation(Settings(isolation=IsolationSettings(mode="none")))
    assert good is None
    assert "isolation.mode=none" in found
