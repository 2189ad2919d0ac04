"""The scale benchmark runs at a tiny size, and its parts see every object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of this installation"),
]


def test_every_part_sees_every_object(tmp_path: Path) -> None:
    output = tmp_path / "scale.json"
    sizes = ["--objects", "2000", "--shard-size", "100", "--objects-per-tick", "900"]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "scale.py"), *sizes, "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert (found["plan"]["new"], found["plan"]["shards"]) == (2000, 20)
    assert (found["replan"]["new"], found["replan"]["unchanged"]) == (0, 2000)
    # 900 objects are 9 full shards a tick; the third tick has the rest.
    assert (found["ticks"]["ticks"], found["ticks"]["partitions"]) == (3, 20)
    assert found["ticks"]["runs_requested"] == 20
    assert found["changed_ticks"]["runs_requested"] >= 2
    assert found["status"]["complete"] == 20
    assert all(found[part]["peak_mb"] > 0 for part in ("plan", "ticks", "status"))
