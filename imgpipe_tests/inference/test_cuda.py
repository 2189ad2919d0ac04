"""NVIDIA's driver as made-up ones answer, and GPUs shared out among processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgpipe.inference import cuda


class Driver:
    """What is asked of ``libcuda.so.1``."""

    def __init__(self, start: int = 0, version: int = 13020) -> None:
        self.start, self.version = start, version

    def cuInit(self, flags: int) -> int:  # noqa: N802 (its name)
        return self.start

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:  # noqa: N802
        size._obj.value = 80 * 2**30
        return 0


@pytest.mark.parametrize(
    ("driver", "visible", "words"),
    [
        (Driver(), None, ""),
        (None, None, "libcuda.so.1.*580 or newer.*--gpus all"),
        (Driver(100), None, "the driver shows no GPU: check `nvidia-smi`"),
        (Driver(100), "", "shows no GPU; CUDA_VISIBLE_DEVICES is ''"),
        (Driver(803), None, "CUDA error 803"),
        (Driver(version=12080), None, "for CUDA 12.8, expected 13: install driver 580 or newer"),
    ],
)
def test_why_no_gpu(
    driver: Driver | None, visible: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    monkeypatch.setattr(cuda, "prepare_process", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = cuda.why_no_gpu()
    assert (found == "") if not words else re.search(words, found), found


def test_memory_of_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_driver", Driver)
    assert cuda.total_memory_bytes() == 80 * 2**30


#: Takes a GPU, says which, and holds it until its input ends; with an argument it starts another first.
_TAKER = """
import os, subprocess, sys
from imgpipe.inference import cuda
cuda._DEVICES = __import__("pathlib").Path(os.environ["DEVICES"])
cuda.prepare_process()
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["PYTORCH_CUDA_ALLOC_CONF"], flush=True)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True, input="", text=True)
sys.stdin.read()
"""


def _taker(tmp_path: Path, visible: str | None, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DEVICES": str(tmp_path / "dev"), "TMPDIR": str(tmp_path)}
    for name in ("CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF"):
        environment.pop(name, None)
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    command = [sys.executable, "-c", _TAKER, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


@pytest.mark.parametrize(
    ("visible", "gpus", "expected"),
    [
        (None, 2, ["0", "1", "0"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b", "GPU-a"]),
        ("1", 2, ["1", "1", "1"]),
        ("", 2, ["", "", ""]),
        (None, 1, ["None", "None", "None"]),
    ],
)
def test_each_process_takes_its_own_gpu(
    visible: str | None, gpus: int, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "dev").mkdir()
    for index in range(gpus):
        (tmp_path / "dev" / f"nvidia{index}").touch()
    (tmp_path / "dev" / "nvidiactl").touch()
    started = []
    for _ in expected:
        started.append(_taker(tmp_path, visible))
        assert started[-1].stdout is not None
        line = started[-1].stdout.readline()
        assert line == f"{expected[len(started) - 1]} expandable_segments:True\n"
    started[1].communicate("")
    again = _taker(tmp_path, visible)
    assert again.stdout is not None
    assert again.stdout.readline().split(" ")[0] == expected[1], "what an ended process held is free"
    for process in (*started, again):
        process.communicate("")


def test_a_process_that_was_started_takes_another_one(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for index in range(2):
        (tmp_path / "dev" / f"nvidia{index}").touch()
    said, _ = _taker(tmp_path, None, _TAKER).communicate("")
    assert [line.split(" ")[0] for line in said.splitlines()] == ["0", "1"]


@pytest.mark.parametrize(
    ("driver", "files", "visible", "expected"),
    [
        (Driver(100), True, None, False),  # the driver shows none
        (Driver(0), True, None, True),
        (Driver(999), True, None, True),  # it does not start
        (None, True, None, True),  # a container without the driver's libraries
        (None, False, None, False),
        (Driver(0), True, "", False),  # hidden on purpose
    ],
)
def test_a_gpu_is_there_whether_or_not_it_can_be_used(
    driver: Driver | None,
    files: bool,
    visible: str | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if files:
        (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(cuda, "_DEVICES", tmp_path)
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda.gpu_is_there() is expected
