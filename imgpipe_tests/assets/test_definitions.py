"""The code location: its graph is frozen, it loads nothing heavy, and Dagster's own tools accept it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, Definitions

from imgpipe.assets.findings import check_names
from imgpipe.assets.graph import build_definitions
from imgpipe.config import Settings, load_settings
from imgpipe_tests.imports import loaded_by

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "openvino",
    "onnxruntime",
    "cv2",
    "rembg",
    "spandrel",
    "pymatting",
    "numba",
    "skimage",
    "torchvision",
)


pytestmark = pytest.mark.usefixtures("own_folder")


def graph(definitions: Definitions) -> dict[str, set[str]]:
    resolved = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): {parent.to_user_string() for parent in resolved.get(key).parent_keys}
        for key in resolved.get_all_asset_keys()
    }


def test_the_asset_graph_is_this_one() -> None:
    assert graph(build_definitions(Settings())) == {
        "raw_images": set(),
        "matted_images": {"raw_images"},
        "upscaled_images": {"raw_images", "matted_images"},
        "quality_reports": {"raw_images", "matted_images", "upscaled_images"},
        "dataset_report": {"quality_reports"},
        "review_queue": {"quality_reports"},
    }


@pytest.mark.parametrize(
    ("actions", "order"),
    [
        (["upscale"], ["raw_images", "upscaled_images", "quality_reports"]),
        (["rembg"], ["raw_images", "matted_images", "quality_reports"]),
        (["upscale", "rembg"], ["raw_images", "upscaled_images", "matted_images", "quality_reports"]),
    ],
)
def test_the_graph_follows_the_actions(actions: list[str], order: list[str]) -> None:
    found = graph(build_definitions(load_settings({"actions": actions})))
    assert set(found) == {*order, "dataset_report", "review_queue"}
    for index, asset in enumerate(order):
        assert found[asset] == set(order[:index])


def test_every_asset_has_its_checks_with_partitions() -> None:
    resolved = build_definitions(Settings()).resolve_asset_graph()
    names: dict[str, set[str]] = {}
    for key in resolved.asset_check_keys:
        names.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
        assert resolved.get(key).partitions_def is not None
    assets = ("raw_images", "matted_images", "upscaled_images", "quality_reports")
    assert names == {asset: set(check_names(asset)) for asset in assets}
    assert {"psnr", "ssim", "no_lines", "edges_preserved", "rows_conserved"} <= names["quality_reports"]


def test_only_steps_with_a_network_on_a_gpu_take_the_gpu_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    def pools(settings: Settings) -> dict[str, str | None]:
        definitions = build_definitions(settings)
        return {
            name: definitions.resolve_assets_def(AssetKey(name)).op.pool
            for name in ("raw_images", "matted_images", "upscaled_images", "quality_reports")
        }

    monkeypatch.setattr("imgpipe.inference.device._may_have_cuda", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert pools(Settings()) == {
        "raw_images": None,
        "matted_images": "gpu",
        "upscaled_images": "gpu",
        "quality_reports": None,
    }
    classical = load_settings({"rembg.model": "classical", "upscale.model": "lanczos"})
    assert set(pools(classical).values()) == {None}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert set(pools(Settings()).values()) == {None}
    assert pools(Settings(device="cuda"))["matted_images"] == "gpu"


def test_importing_the_definitions_loads_no_heavy_library() -> None:
    assert loaded_by("import imgpipe.definitions", HEAVY) == []


@pytest.mark.parametrize(
    "command", [("dagster", "definitions", "validate"), ("dg", "check", "defs")], ids=["dagster", "dg"]
)
def test_dagsters_own_tools_accept_the_root(command: tuple[str, ...], tmp_path: Path) -> None:
    script = Path(sys.executable).with_name(command[0])
    assert script.is_file(), f"{command[0]} is not installed beside {sys.executable}"
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(script), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DAGSTER_HOME": str(home), "PATH": path, "VIRTUAL_ENV": str(script.parent.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
