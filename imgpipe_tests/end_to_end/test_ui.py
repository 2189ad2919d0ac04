"""The real webserver and daemon on what a run produced: what GraphQL says is what the UI shows."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing
from imgpipe_tests.end_to_end.webserver import Server, free_port, running

pytestmark = [pytest.mark.server, pytest.mark.timeout(280)]

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")
QUALITY_CHECKS = ("psnr", "ssim", "no_lines", "edges_preserved", "rows_conserved", "models_as_configured")


@pytest.fixture
def produced(workspace: Workspace) -> Workspace:
    """Two shards of two and one images, run from the command line."""
    for number in range(3):
        write_drawing(workspace.source, f"{number}.png", seed=number)
    code, text = workspace.cli("run", "--shard-size", "2", *CLASSICAL)
    assert code == 0, text
    return workspace


@pytest.fixture
def server(produced: Workspace, instance_home: Path, tmp_path: Path) -> Iterator[Server]:
    """``imgpipe ui`` on what ``produced`` left."""
    port = free_port()
    command = [sys.executable, "-m", "imgpipe", "ui", "--port", str(port)]
    with running(command, port, instance_home, tmp_path) as started:
        yield started


def materializations(server: Server, asset: str) -> list[dict[str, Any]]:
    answer = server.ask(
        """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
        assetMaterializations(limit: 100) { partition runId metadataEntries { label
        ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } } } } }""",
        key={"path": [asset]},
    )
    found: list[dict[str, Any]] = answer["assetOrError"]["assetMaterializations"]
    return found


def check_executions(server: Server, asset: str, name: str) -> list[dict[str, Any]]:
    answer = server.ask(
        """query($key: AssetKeyInput!, $name: String!) {
        assetCheckExecutions(assetKey: $key, checkName: $name, limit: 100) {
        status evaluation { success partition metadataEntries { label } } } }""",
        key={"path": [asset]},
        name=name,
    )
    found: list[dict[str, Any]] = answer["assetCheckExecutions"]
    return found


def test_the_ui_shows_partitions_checks_and_launches_a_run(server: Server, produced: Workspace) -> None:
    for asset in ASSETS:
        found = materializations(server, asset)
        assert {one["partition"] for one in found} == {"art-00000", "art-00001"}
        numbers = {
            entry["label"]: entry.get("intValue", entry.get("floatValue"))
            for one in found
            if one["partition"] == "art-00000"
            for entry in one["metadataEntries"]
        }
        assert numbers["images"] == 2
        assert numbers["ok"] == 2
        assert numbers["images_per_second"] > 0
    labels = {entry["label"] for entry in materializations(server, "quality_reports")[0]["metadataEntries"]}
    assert {"psnr_mean", "psnr_p05", "psnr_min", "ssim_mean", "worst_pictures", "table"} <= labels
    for name in QUALITY_CHECKS:
        executions = check_executions(server, "quality_reports", name)
        assert {one["evaluation"]["partition"] for one in executions} == {"art-00000", "art-00001"}, name
        assert all(one["status"] == "SUCCEEDED" for one in executions), (name, executions)
    assert len(materializations(server, "dataset_report")) == 1

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.url}/imgpipe/dataset_report/reports/art/index.html") as report:
        assert b"art: dataset report" in report.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        opener.open(f"{server.url}/imgpipe/dataset_report/shards/art/00000.parquet")

    write_drawing(produced.source, "2.png", seed=77)
    assert produced.cli("plan", *CLASSICAL)[0] == 0
    run_id = server.launch("art-00001")
    assert server.wait_for_run(run_id) == "SUCCESS"
    newest = materializations(server, "quality_reports")[0]
    assert (newest["partition"], newest["runId"]) == ("art-00001", run_id)
    assert produced.cli("status", *CLASSICAL)[1].count("complete") == 2


@pytest.mark.slow
def test_dagster_dev_works_from_the_root(instance_home: Path) -> None:
    instance_home.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", instance_home / "dagster.yaml")
    port = free_port()
    script = str(Path(sys.executable).with_name("dagster"))
    with running([script, "dev", "-h", "127.0.0.1", "-p", str(port)], port, instance_home, ROOT) as server:
        answer = server.ask("{ assetNodes { assetKey { path } partitionDefinition { type name } } }")
    nodes = {node["assetKey"]["path"][0]: node["partitionDefinition"] for node in answer["assetNodes"]}
    assert set(nodes) == {*ASSETS, "dataset_report", "review_queue"}
    assert {nodes[asset]["type"] for asset in ASSETS} == {"DYNAMIC"}
    assert nodes["dataset_report"] is None
