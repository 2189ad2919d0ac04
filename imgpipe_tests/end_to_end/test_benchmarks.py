"""The benchmarks of the whole job run at a tiny size and keep what they measured."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of this installation"),
]


def measured(script: str, output: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(FOLDER / script), "--output", str(output), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(output.read_text())
    return results


def test_end_to_end_measures_both_sides_on_the_same_pictures(tmp_path: Path) -> None:
    results = measured("end_to_end.py", tmp_path / "e.json", "--quick", "--count", "2", "--size", "48x40")
    ours = results["imgpipe"]
    assert results["pictures"]["size"] == "48x40"
    assert ours["fidelity"]["pictures"] == 2
    # Times mean nothing at this size; that they are parts of the whole does not depend on it.
    by_asset = ours["wall_by_asset"]
    assert {"raw_images", "upscaled_images", "quality_reports", "dataset_report", "rest"} <= set(by_asset)
    assert by_asset["rest"] > 0
    assert ours["steps"]["network"] > 0
    assert ours["steps"]["score"] > 0
    if importlib.util.find_spec("realesrgan") is None:
        assert "realesrgan" in results["verdict"]["skipped"]
        return
    script = results["script"]["tile 0"]
    assert script["fidelity"]["pictures"] == 2
    assert script["steps"]["network"] > 0
    assert sum(script["steps"].values()) + script["start_and_imports"] == pytest.approx(
        script["wall_seconds"], abs=0.01
    )
    assert results["verdict"]["times_as_fast"] > 0


def test_overhead_is_told_apart_from_the_pixels(tmp_path: Path) -> None:
    results = measured("overhead.py", tmp_path / "o.json", "--quick", "--count", "3")
    overhead, classical = results["overhead_seconds"], results["classical_seconds"]
    whole, engine = overhead["one asset with its checks"], overhead["of that the engine and storage"]
    assert 0 < engine < whole
    assert overhead["of that Dagster"] == pytest.approx(whole - engine)
    assert overhead["whole shard job (three assets, all checks)"] > whole
    assert results["share_of_enlarging"] == pytest.approx(whole / classical["enlarging alone"])
    # At three tiny pictures Dagster costs more than the pictures do: a verdict that can fail.
    assert results["low_enough"] is False


def test_serving_is_measured_beside_a_run(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    sizes = ["--count", "3", "--size", "32", "--clients", "2", "--repeat", "1"]
    results = measured("serving.py", tmp_path / "s.json", *sizes)
    assert results["images_per_second"]["serve"] > 0
    assert 0 < results["latency_seconds"]["p50"] <= results["latency_seconds"]["p95"]


def test_fixing_is_measured_beside_its_peers(tmp_path: Path) -> None:
    results = measured("fixing.py", tmp_path / "f.json", "--quick")
    damage = results["damage"]["jpeg q30 420"]
    assert damage["imgpipe 0.0"] == damage["damaged"]
    assert damage["imgpipe 0.5"]["psnr"] > damage["damaged"]["psnr"]
    assert not set(results["tuning"]) & set(results["held_out"])
    assert min(results["clean"].values()) >= 55


def test_host_work_is_told_by_step_and_without_the_device(tmp_path: Path) -> None:
    results = measured("host_work.py", tmp_path / "h.json", "--quick", "--count", "2", "--weights", "none")
    for case in results["cases"].values():
        upscaled = case["by_asset"]["upscaled_images"]
        assert upscaled["device_seconds"] > 0
        assert 0 < upscaled["busy_share"] < 1
        assert 0 < upscaled["core_seconds"] < case["core_seconds_of_the_run"]
    by_step = results["cases"]["rembg and upscale, animevideov3"]["core_seconds_by_step"]
    assert {"decode", "finish", "encode", "write"} <= set(by_step["upscaled_images"])
    for asset in ("matted_images", "upscaled_images", "quality_reports"):
        total = by_step[asset].pop("total without the stand-in")
        assert sum(by_step[asset].values()) == pytest.approx(total, abs=0.02)
