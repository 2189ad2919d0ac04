"""ONNX files where CUDA does not start, and where it fails while it runs: made-up sessions of onnxruntime."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from imgpipe.errors import DeviceFault, ImgpipeError, ModelError, OutOfMemory, WeightsRefused
from imgpipe.inference import cuda, onnx_file
from imgpipe.inference.onnx_file import open_onnx
from imgpipe_tests.matting.graphs import weighted, write_graph

LISTED = ["CUDAExecutionProvider", "CPUExecutionProvider"]
OUT_OF_MEMORY = RuntimeError("Failed to allocate memory for requested buffer of size 4294967296")
FAULT = RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "g.onnx", weighted(0.5, 0.25, 0.125), 16)


@pytest.fixture(autouse=True)
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that lists CUDA, on a machine with a GPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)
    monkeypatch.setattr(cuda, "why_no_gpu", lambda: "")
    monkeypatch.setattr(cuda, "total_memory_bytes", lambda: 16 * 2**30)
    monkeypatch.setattr(cuda, "preload", lambda: None)
    monkeypatch.setattr(cuda, "KEEPERS", weakref.WeakSet())
    monkeypatch.setattr(onnx_file, "gpu_is_expected", lambda: True)


class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
    """The CPU's, which says that it is CUDA's; ``errors`` come one per run, ``None`` is a run that works."""

    made: dict[str, Any]
    errors: Iterator[Exception | None] = iter(())
    shrunk: int

    def __init__(self, path: str, sess_options: Any, providers: Any, enable_fallback: int) -> None:
        super().__init__(path, sess_options, providers=["CPUExecutionProvider"])
        Session.made = dict(providers[:1])["CUDAExecutionProvider"]
        Session.shrunk = 0
        assert enable_fallback == 0
        assert sess_options.use_deterministic_compute

    def get_providers(self) -> list[str]:
        return LISTED

    def run(self, names: list[str], fed: dict[str, Any], run_options: Any = None) -> Any:
        error = next(Session.errors, None)
        if error is not None:
            raise error
        Session.shrunk += run_options is not None
        return super().run(names, fed)


def _open(path: Path, monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> onnx_file.OpenedOnnx:
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(Session, "errors", iter(errors))
    return open_onnx(path, "cuda")


def test_fp32_is_ieee_and_the_arena_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path, monkeypatch)
    assert (opened.runtime, opened.device, opened.fallback_reason) == ("onnxruntime", "cuda", "")
    assert Session.made == {
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": str(8 * 2**30),
    }


def test_out_of_memory_is_tried_once_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[bool] = []
    monkeypatch.setattr(cuda, "release_torch_cache", lambda: released.append(True))
    opened = _open(path, monkeypatch, OUT_OF_MEMORY, None, OUT_OF_MEMORY, OUT_OF_MEMORY)
    values = np.full((1, 3, 16, 16), 0.5, np.float32)
    np.testing.assert_allclose(opened(values)[0], 0.4375, atol=1e-6)
    assert len(released) == 1
    with pytest.raises(OutOfMemory):
        opened(values)
    np.testing.assert_allclose(opened(values)[0], 0.4375, atol=1e-6)


def test_a_device_fault_stops_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path, monkeypatch, FAULT)
    values = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(ModelError, match="illegal memory access") as caught:
        opened(values)
    assert type(caught.value) is DeviceFault
    assert opened(values)[0].shape == (1, 1, 16, 16)


def test_memory_is_given_back_by_a_last_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _open(path, monkeypatch)
    cuda.release_caches()
    assert Session.shrunk == 0, "nothing has run"
    opened(np.zeros((1, 3, 16, 16), np.float32))
    cuda.release_caches()
    cuda.release_caches()
    assert Session.shrunk == 1


def _break(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient\nmore")

    if how == "no device":
        monkeypatch.setattr(cuda, "why_no_gpu", lambda: "the driver shows no GPU")
    elif how == "another wheel":
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED[1:])
    elif how == "does not start":
        monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no device", "the driver shows no GPU"),
        ("no libraries", r"CUDA part does not load \(.*libonnxruntime_providers_cuda.so: cannot open"),
        ("does not start", r"does not start it on the GPU \(RuntimeError: CUDA failure 35"),
        ("another wheel", r"has only CPUExecutionProvider: `pip uninstall -y onnxruntime`"),
    ],
)
def test_where_cuda_does_not_start(path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str) -> None:
    _break(how, monkeypatch)
    with pytest.raises(ImgpipeError, match=words) as caught:
        open_onnx(path, "cuda")
    assert type(caught.value) is ModelError
    opened = open_onnx(path, "auto")
    assert (opened.runtime, opened.device) == ("openvino", "cpu")
    assert opened.fallback_reason.startswith("device auto is the CPU: ")
    np.testing.assert_allclose(opened(np.ones((1, 3, 16, 16), np.float32))[0], 0.875, atol=1e-6)
    monkeypatch.setattr(onnx_file, "gpu_is_expected", lambda: False)
    assert open_onnx(path, "auto").fallback_reason == ""


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_damaged_file_is_no_fault_of_the_device(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"\x08\x07 no network")
    for device in ("cuda", "auto"):
        with pytest.raises(WeightsRefused):
            open_onnx(path, device)


def test_threads_take_turns_on_a_gpu(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0

    class Slow(Session):
        def run(self, *arguments: Any, **more: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.02)
            result = super().run(*arguments, **more)
            running -= 1
            return result

    monkeypatch.setattr(onnxruntime, "InferenceSession", Slow)
    opened = open_onnx(path, "cuda")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: opened(np.zeros((1, 3, 16, 16), np.float32)), range(8)))
    assert most == 1
