"""The real webserver and daemon on what a run produced: what GraphQL says is what the UI shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing

pytestmark = [pytest.mark.server, pytest.mark.timeout(280)]

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")
QUALITY_CHECKS = ("psnr", "ssim", "no_lines", "edges_preserved", "rows_conserved", "models_as_configured")


@dataclass
class Server:
    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            result: dict[str, Any] = json.load(answer)
        assert "errors" not in result, result["errors"]
        data: dict[str, Any] = result["data"]
        return data


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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


@contextmanager
def running(command: list[str], port: int, home: Path, folder: Path) -> Iterator[Server]:
    """A server in a process group of its own, in ``folder``, ended with all its children."""
    log = home / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DAGSTER_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"},
            start_new_session=True,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError(f"the UI did not start:\n{log.read_text(errors='replace')[-4000:]}")


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


def launch(server: Server, partition: str) -> str:
    repository = server.ask(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
    )["repositoriesOrError"]["nodes"][0]
    answer = server.ask(
        """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
        ... on RunConfigValidationInvalid { errors { message } } } }""",
        params={
            "selector": {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
                "jobName": "shard_job",
            },
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        },
    )["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer["run"]["runId"]
    return run_id


def wait_for_run(server: Server, run_id: str) -> str:
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    until = time.monotonic() + 150
    status = ""
    while time.monotonic() < until:
        status = server.ask(query, id=run_id)["runOrError"]["status"]
        if status in ("SUCCESS", "FAILURE", "CANCELED"):
            break
        time.sleep(1)
    return status


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
    assert {"psnr_mean", "psnr_p05", "psnr_min", "ssim_mean", "worst_images", "table"} <= labels
    for name in QUALITY_CHECKS:
        executions = check_executions(server, "quality_reports", name)
        assert {one["evaluation"]["partition"] for one in executions} == {"art-00000", "art-00001"}, name
        assert all(one["status"] == "SUCCEEDED" for one in executions), (name, executions)
    assert len(materializations(server, "dataset_report")) == 1

    write_drawing(produced.source, "2.png", seed=77)
    assert produced.cli("plan", *CLASSICAL)[0] == 0
    run_id = launch(server, "art-00001")
    assert wait_for_run(server, run_id) == "SUCCESS"
    newest = materializations(server, "quality_reports")[0]
    assert (newest["partition"], newest["runId"]) == ("art-00001", run_id)
    assert produced.cli("status", *CLASSICAL)[1].count("complete") == 2


def test_dagster_dev_works_from_the_root(instance_home: Path) -> None:
    instance_home.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", instance_home / "dagster.yaml")
    port = free_port()
    script = str(Path(sys.executable).with_name("dagster"))
    with running([script, "dev", "-h", "127.0.0.1", "-p", str(port)], port, instance_home, ROOT) as server:
        answer = server.ask("{ assetNodes { assetKey { path } partitionDefinition { type name } } }")
    nodes = {node["assetKey"]["path"][0]: node["partitionDefinition"] for node in answer["assetNodes"]}
    assert set(nodes) == {*ASSETS, "dataset_report"}
    assert {nodes[asset]["type"] for asset in ASSETS} == {"DYNAMIC"}
    assert nodes["dataset_report"] is None
