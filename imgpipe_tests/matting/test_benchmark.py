"""The benchmark runs at a tiny size and writes its results; its exact reference is correct."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "matting.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not part of this installation"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("benchmark") / "result.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    kept: dict[str, Any] = json.loads(output.read_text())
    return kept


def test_ours_is_better_in_every_error(results: dict[str, Any]) -> None:
    assert results["errors"]["128"]["missed"] == {
        kind: [] for kind in ("flat", "gradient", "noisy", "drawn", "all")
    }
    means = results["errors"]["128"]["means"]["all"]
    # The threshold that can never be met changes nothing.
    for error in ("sad", "mse", "grad", "conn", "colour", "composite"):
        assert means["rembg 270/20/11"][error] == means["rembg"][error]


def test_cost_is_measured_for_both(results: dict[str, Any]) -> None:
    total = results["cost"]["192"]["all"]
    assert set(total) == {"rembg 240/10/10", "ours"}
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in total.values())


def test_the_solver_is_exact(results: dict[str, Any]) -> None:
    solver = results["solver"]
    assert solver["met"]
    for label, rows in solver["table"].items():
        assert rows["all"]["ours_exact_max"] < 0.01, label
    exact = solver["table"]["epsilon 1e-4, tolerance 1e-10"]["all"]
    assert exact["pair_max"] < 1
    assert exact["pair_mean"] < 0.1


def test_every_drawing_has_a_row(results: dict[str, Any]) -> None:
    kinds = results["classical"]["kinds"]
    assert sum(row["drawings"] for row in kinds.values()) == len(results["classical"]["rows"]) == 3
