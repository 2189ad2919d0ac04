"""The bound of all pools: from the environment, or the usable cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from imgpipe.host import usable_cores
from imgpipe.inference.threads import bound_pools, network_threads


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("5,2", 5), ("", None), ("none", None)])
def test_the_environment_decides(value: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    network_threads.cache_clear()
    before = cv2.getNumThreads()
    try:
        assert network_threads() == (expected or usable_cores())
        bound_pools()
        assert cv2.getNumThreads() == network_threads()
        bound_pools(2)
        assert cv2.getNumThreads() == max(1, network_threads() // 2)
        bound_pools(100)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)
        network_threads.cache_clear()


def test_a_library_that_another_thread_imports_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("import time; time.sleep(0.3); setNumThreads = print")
    code = """if True:
        import sys, threading, time
        from imgpipe.inference.threads import bound_pools
        threading.Thread(target=lambda: __import__("cv2")).start()
        while "cv2" not in sys.modules:
            time.sleep(0.01)
        bound_pools()
    """
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    command = [sys.executable, "-c", code]
    assert (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "3\n"
    )
