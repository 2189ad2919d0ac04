"""The benchmark runs at a tiny size, the rows for GPUs included, and keeps what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "upscaling.py"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not part of this installation"),
]


def test_the_benchmark_runs(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[1], env=environment
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    network = results["animevideov3"]
    assert [row["max_difference_255"] for row in network["exact"]] == [0, 0]
    assert {row["batch"] for row in network["exact"]} == {1, 4}
    speed = network["speed"][0]
    assert speed["ours auto"]["share_of_matrix_product"] > 0  # fp32 has no row where auto takes it
    assert network["batches"][0]["ours, network, batch 2"]["images_per_second"] > 0
    assert 0 < network["stage"]["network_busy_share"] <= 1
    assert network["stage"]["images"] == 2
    assert "skipped" in results["quality"]


def test_without_a_gpu_its_benchmark_says_so(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT.with_name("gpu.py")), "--output", str(tmp_path / "result.json")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert "nothing is measured: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_failure_costs_one_row() -> None:
    code = (
        "import json\nfrom upscaling_contenders import in_turns\nskipped = {}\n"
        "calls = {'good': lambda: None, 'bad': lambda: 1 / 0, 'last': lambda: None}\n"
        "print(json.dumps([sorted(in_turns(calls, 1, skipped)), skipped]))"
    )
    path = os.pathsep.join(map(str, (SCRIPT.parent, SCRIPT.parents[1])))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert json.loads(done.stdout) == [["good", "last"], {"bad": "ZeroDivisionError: division by zero"}]
