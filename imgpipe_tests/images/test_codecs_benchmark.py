"""The benchmark runs at a tiny size and keeps what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "image_codecs.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not part of this installation")
def test_the_benchmark_runs(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    total = results["256x256"]["all"]
    assert len(results["256x256"]["pictures"]) == 3
    assert total["encode ours small"]["bytes"] < total["encode ours balanced"]["bytes"]
    # Times mean nothing at this size and on a busy machine; bytes do not change with either.
    assert total["encode ours fast"]["bytes_ratio"] <= 1.1
    assert set(total) == {
        *(f"encode {who}" for who in ("pillow", "ours fast", "ours balanced", "ours small")),
        *(f"decode {who}" for who in ("pillow", "ours", "ours isolated")),
    }
