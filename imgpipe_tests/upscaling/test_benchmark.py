"""The benchmark runs at a tiny size and keeps what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "upscaling.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not part of this installation")
def test_the_benchmark_runs(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [sys.executable, str(SCRIPT), "--sizes", "40x30", "--tiles", "32", "--exact-size", "60x40"]
    command += ["--memory-size", "0", "--repeat", "1", "--device", "cpu", "--output", str(output)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[1], env=_environment()
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())["animevideov3"]
    assert [row["max_difference_255"] for row in results["exact"]] == [0]
    assert results["speed"][0]["ours fp32"]["seconds"] > 0


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
