"""The Postgres profile on a real server: two concurrent runs of the pipeline, from the queue to the end."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from imgpipe.config import load_settings
from imgpipe.launch import open_instance, remember_settings
from imgpipe.partitions import add_partitions
from imgpipe.storage.manifests import list_shards, plan, seal
from imgpipe.storage.opening import open_store
from imgpipe_tests.end_to_end.conftest import Workspace, instance_home, workspace, write_drawing  # noqa: F401
from imgpipe_tests.end_to_end.webserver import Server, free_port, running

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(280)]

SETTINGS = {"rembg.model": "classical", "upscale.model": "lanczos", "upscale.scale": 2, "shard_size": 2}


@pytest.fixture
def home(
    instance_home: Path,  # noqa: F811
    profiles: Path,
    postgres: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    for name, value in postgres.items():
        monkeypatch.setenv(name, value)
    instance_home.mkdir()
    shutil.copyfile(profiles / "postgres" / "dagster.yaml", instance_home / "dagster.yaml")
    return instance_home


def sealed(workspace: Workspace) -> list[str]:  # noqa: F811
    """Two shards of two drawings, known to Dagster; their partitions."""
    for number in range(4):
        write_drawing(workspace.source, f"{number}.png", seed=number)
    settings = load_settings(
        {"source": workspace.source, "output": workspace.output, "dataset": workspace.dataset, **SETTINGS}
    )
    source = open_store(settings.source, settings.s3)
    output = open_store(settings.output, settings.s3, create=True)
    seal(plan(source, output, dataset=settings.dataset, shard_size=2), output)
    shards = list_shards(output, settings.dataset)
    remember_settings(settings)
    with open_instance() as instance:
        add_partitions(settings, instance, shards)
    return [f"{settings.dataset}-{shard}" for shard in shards]


def stats_of(server: Server, run_id: str) -> dict[str, Any]:
    answer = server.ask(
        """query($id: ID!) { runOrError(runId: $id) { ... on Run {
        stats { ... on RunStatsSnapshot { enqueuedTime launchTime startTime endTime } } } } }""",
        id=run_id,
    )
    found: dict[str, Any] = answer["runOrError"]["stats"]
    return found


def test_two_runs_at_once(workspace: Workspace, home: Path, postgres: dict[str, str]) -> None:  # noqa: F811
    import psycopg2

    partitions = sealed(workspace)
    assert len(partitions) == 2
    port = free_port()
    with running([sys.executable, "-m", "imgpipe", "ui", "--port", str(port)], port, home, home) as server:
        run_ids = [server.launch(partition) for partition in partitions]
        assert [server.wait_for_run(run_id) for run_id in run_ids] == ["SUCCESS", "SUCCESS"]
        first, second = (stats_of(server, run_id) for run_id in run_ids)
    # Both went through the queue, and each was launched before the other had ended.
    assert first["enqueuedTime"] <= first["launchTime"]
    assert second["enqueuedTime"] <= second["launchTime"]
    assert max(first["launchTime"], second["launchTime"]) < min(first["endTime"], second["endTime"])
    rows = workspace.rows()
    assert {row.status.value for row in rows.values()} == {"ok"}
    assert len(rows) == 4
    # The state is in the database: the folder holds none of it.
    assert not list(home.rglob("*.db"))
    connection = psycopg2.connect(
        host=postgres["DAGSTER_PG_HOST"],
        port=postgres["DAGSTER_PG_PORT"],
        user=postgres["DAGSTER_PG_USER"],
        dbname=postgres["DAGSTER_PG_DB"],
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT partition FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' "
            "AND asset_key LIKE '%quality_reports%'"
        )
        assert sorted(row[0] for row in cursor.fetchall()) == sorted(partitions)
    connection.close()
