"""The worker's handler: the calls that people make, what is refused and how, and RunPod's own test server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from imgpipe import worker
from imgpipe.errors import DeviceFault
from imgpipe.stages.upscale import UpscaleStage
from imgpipe.worker import handler
from imgpipe_tests.end_to_end.webserver import free_port
from imgpipe_tests.http_server import served
from imgpipe_tests.jobs.client import Client
from imgpipe_tests.jobs.pictures import alpha_sides, drawing, opened, text, with_alpha
from imgpipe_tests.quality.documents import validate


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPIPE_UPSCALE__MODEL", "lanczos")
    monkeypatch.setenv("IMGPIPE_REMBG__MODEL", "classical")
    yield
    worker._settings.cache_clear()
    worker._stored.cache_clear()


def ask(**asked: Any) -> dict[str, Any]:
    return handler({"id": "1", "input": asked})


@pytest.mark.parametrize(
    ("asked", "size", "cut_out"),
    [
        ({"actions": ["rembg"], "config": {"alpha_matting": False}}, (128, 112), True),
        ({"actions": ["upscale"]}, (512, 448), False),
        ({"config": {"scale": 2}}, (256, 224), False),
        ({"actions": ["rembg", "upscale"], "config": {"scale": 3, "alpha_matting": True}}, (384, 336), True),
        ({"actions": ["fix_artifacts"], "config": {"denoise": 0.5}}, (128, 112), False),
    ],
)
def test_the_calls_that_people_make(asked: Mapping[str, Any], size: tuple[int, int], cut_out: bool) -> None:
    answer = ask(image_base64=text(drawing()), **asked)
    assert set(answer) == {"image_base64", "actions_applied", "quality", "timings"}, answer
    assert answer["actions_applied"] == list(asked.get("actions", ["upscale"]))
    picture = opened(answer["image_base64"])
    assert (picture.size, picture.mode) == (size, "RGBA" if cut_out else "RGB")
    validate(answer["quality"])
    assert answer["quality"]["dimensions_after"] == list(size)
    assert answer["timings"]["total"] > 0


@pytest.mark.parametrize("actions", [["rembg"], ["upscale"], ["rembg", "upscale"], ["fix_artifacts"]])
def test_alpha_survives(actions: list[str]) -> None:
    answer = ask(image_base64=text(with_alpha()), actions=actions, config={"scale": 2, "denoise": 0.5})
    hidden, shown = alpha_sides(opened(answer["image_base64"]))
    assert hidden.max() == 0
    assert shown.min() == 255 or "rembg" in actions  # which cuts the figure out of the right half
    assert shown.max() == 255


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"actions": ["magic"], "image_base64": ""}, "unknown action 'magic'"),
        ({"image_base64": ""}, "got 0 bytes"),
        ({"image_base64": "no base64!"}, "expected base64"),
        ({"image_base64": text(b"<!doctype html><p>503")}, "got an HTML page"),
        ({"image_base64": text(drawing()[:500])}, "DecodeError: the picture"),
        ({}, "image_base64 or image_url"),
        ({"image_base64": "", "action": []}, "action: unknown key; did you mean 'actions'?"),
        ({"image_url": "http://127.0.0.1/x.png"}, "begins with s3://"),
        ({"image_url": "file:///etc/passwd"}, "begins with s3://"),
    ],
)
def test_what_is_refused_is_named(asked: dict[str, Any], said: str) -> None:
    answer = ask(**asked)
    assert set(answer) == {"error"}
    assert said in answer["error"]


def test_a_file_of_300_mb_is_refused_before_it_is_decoded() -> None:
    assert "got about 300,000,000" in ask(image_base64="A" * 400_000_000)["error"]


@pytest.mark.parametrize(
    "config",
    [
        {"output": "elsewhere"},
        {"limits.max_pixels": 10**9},
        {"isolation": {"mode": "none"}},
        {"s3.endpoint_url": "http://127.0.0.1"},
        {"model_dir": "/tmp"},
        {"upscale.model": "../weights.safetensors"},
        {"upscale": {"model": "/etc/passwd"}},
        {"quality.profile": "profile.yaml"},
    ],
)
def test_a_job_sets_no_files_and_no_limits(config: dict[str, Any], tmp_path: Path) -> None:
    for name in ("profile.yaml", "weights.safetensors"):
        (tmp_path / name).write_text("")
    assert ask(image_base64=text(drawing()), config=config)["error"].startswith("ConfigError: config.")


def test_a_file_in_the_model_folder_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGPIPE_MODEL_DIR", str(tmp_path))
    (tmp_path / "own.onnx").write_bytes(b"no network")
    answer = ask(image_base64=text(drawing()), actions=["rembg"], config={"rembg.model": "own.onnx"})
    assert "WeightsRefused: own.onnx" in answer["error"]


def test_with_an_output_the_answer_is_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGPIPE_OUTPUT", str(tmp_path / "results"))
    answer = ask(image_base64=text(drawing()), config={"scale": 2})
    assert opened(Path(answer["output_url"]).read_bytes()).size == (256, 224)
    assert "image_base64" not in answer


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that takes RunPod's updates, and those that came."""
    came: list[dict[str, Any]] = []

    class Updates(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with served(Updates) as address:
        yield f"{address}/$ID?", came


@pytest.mark.server
def test_a_hundred_jobs_eight_at_once_on_runpods_test_server(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "imgpipe.worker", "--rp_serve_api", "--rp_api_port", str(port)]
    with receiver() as (address, updates):
        reported = {
            "RUNPOD_WEBHOOK_POST_OUTPUT": address,
            "OMP_NUM_THREADS": "1",
            "IMGPIPE_REVIEW__ENABLED": "1",
        }
        process = subprocess.Popen(
            [*command, "--rp_api_host", "127.0.0.1", "--rp_log_level", "ERROR"],
            env={**os.environ, **reported},
            cwd=tmp_path,
        )
        try:
            client = Client(f"http://127.0.0.1:{port}", process)
            client.wait_until_it_answers("/docs")
            bodies = [
                {"input": {"image_base64": text(drawing(seed, 32, 32)), "config": {"scale": 2}}}
                for seed in range(99)
            ] + [{"input": {"image_base64": "", "actions": ["magic"]}}]
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda body: client.json("/runsync", body), bodies))
        finally:
            process.terminate()
            process.wait(30)
    *good, bad = answers
    assert [answer["status"] for answer in good] == ["COMPLETED"] * 99
    assert {opened(answer["output"]["image_base64"]).size for answer in good} == {(64, 64)}
    assert (bad["status"], "unknown action 'magic'" in bad["error"]) == ("FAILED", True)
    for told in ("upscaled_images: ok", "review"):
        assert {"status": "IN_PROGRESS", "output": told} in updates


def test_after_a_device_fault_the_worker_ends_when_all_have_their_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RunPod's SDK made up: two jobs at once, and SIGTERM ends its loop once they are answered."""
    answers: list[dict[str, Any]] = []
    begun, asked = threading.Barrier(2), threading.Event()

    def start(config: dict[str, Any]) -> None:
        async def both() -> None:
            jobs = [{"id": str(n), "input": {"image_base64": text(drawing())}} for n in range(2)]
            answers.extend(await asyncio.gather(*(config["handler"](job) for job in jobs)))

        before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
        try:
            asyncio.run(both())
        finally:
            signal.signal(signal.SIGTERM, before)

    def faulty(*_: object) -> None:
        begun.wait(30)
        raise DeviceFault("an illegal memory access")

    runpod = types.SimpleNamespace(serverless=types.SimpleNamespace(start=start))
    monkeypatch.setitem(sys.modules, "runpod", runpod)
    monkeypatch.setattr(worker, "_faults", [])
    monkeypatch.setattr(UpscaleStage, "run", faulty)
    monkeypatch.setattr(UpscaleStage, "concurrency", 2)
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == 3
    assert asked.is_set()
    assert ["illegal memory access" in answer["error"] for answer in answers] == [True, True]


def test_a_caller_learns_the_reason_and_the_log_the_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "my models"
    monkeypatch.setenv("IMGPIPE_MODEL_DIR", str(folder))
    told = ask(image_base64=text(drawing()), config={"upscale.model": "realesrgan-anime-6b"})["error"]
    assert "WeightsMissing: realesrgan-anime-6b: the weights file RealESRGAN_x4plus_anime_6B.pth" in told
    assert "https://github.com/" in told
    assert str(tmp_path) not in told
    assert "my models" not in told
    assert f"the weights file {folder}/" in caplog.text
