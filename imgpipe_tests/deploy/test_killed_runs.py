"""Dagster's daemon, its queue and its run workers, killed at work: what is left is found and goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    SkipReason,
    build_schedule_context,
)
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.utils import make_new_run_id

from imgpipe.assets.graph import SHARD_JOB, build_definitions
from imgpipe.assets.images import GPU_POOL
from imgpipe.automation.arrival import ARRIVAL_SENSOR
from imgpipe.automation.backfill import BACKFILL_SCHEDULE
from imgpipe.automation.build import automated
from imgpipe.config import load_settings
from imgpipe.launch import open_instance, remember_settings
from imgpipe.partitions import add_partitions
from imgpipe.processes import Process
from imgpipe.resources.runs import ALIVE_TAG, PROCESS_TAG
from imgpipe.stages.catalogue import MATTED
from imgpipe.storage.manifests import list_shards, plan, seal
from imgpipe_tests.deploy.daemon import PARTITION, Daemon, started
from imgpipe_tests.end_to_end.conftest import Workspace, instance_home, workspace, write_drawing  # noqa: F401
from imgpipe_tests.matting.graphs import slow, write_graph

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

SHARDS = 3
#: Of each shard; one takes the network about half a second.
IMAGES = 8
FAILURE, SUCCESS, STARTED = DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS, DagsterRunStatus.STARTED


@pytest.fixture(params=["one-machine", "postgres"])
def home(
    request: pytest.FixtureRequest,
    instance_home: Path,  # noqa: F811
    profiles: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The profile's instance file, looking often, with places for two runs at once."""
    if request.param == "postgres":
        for name, value in request.getfixturevalue("database").items():
            monkeypatch.setenv(name, value)
    config = yaml.safe_load((profiles / request.param / "dagster.yaml").read_text(encoding="utf-8"))
    config["run_monitoring"]["poll_interval_seconds"] = 1
    config["concurrency"]["runs"]["max_concurrent_runs"] = 2
    queue = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}
    config["run_coordinator"] = {**queue, "config": {"dequeue_interval_seconds": 1}}
    instance_home.mkdir()
    (instance_home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return instance_home


@pytest.fixture
def partitions(home: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: F811
    """Sealed shards, matted by a network that takes its time."""
    for number in range(SHARDS * IMAGES):
        write_drawing(workspace.source, f"{number:02}.png", seed=number)
    settings = load_settings(
        {
            "source": workspace.source,
            "output": workspace.output,
            "dataset": workspace.dataset,
            "actions": ["rembg"],
            "rembg.model": str(write_graph(home / "slow.onnx", slow(20), 256)),
            "rembg.alpha_matting": False,
            "quality.diff": False,
            "isolation.mode": "none",
            "workers": 1,
            "shard_size": IMAGES,
            "automation.interval_seconds": 5,
        }
    )
    monkeypatch.setenv("IMGPIPE_CONFIG", str(remember_settings(settings)))
    stores = workspace.stores
    seal(plan(stores.source, stores.output, dataset="art", shard_size=IMAGES), stores.output)
    shards = list_shards(stores.output, "art")
    with open_instance() as instance:
        add_partitions(settings, instance, shards)
    return [f"art-{shard}" for shard in shards]


@pytest.fixture
def daemon(home: Path, partitions: list[str]) -> Iterator[Daemon]:
    with open_instance() as instance, started(instance, home) as running:
        yield running


@pytest.fixture
def runs(daemon: Daemon, partitions: list[str], workspace: Workspace) -> list[str]:  # noqa: F811
    """Three: one at work, held in the middle of it with the slot of the GPU; one that waits for the slot; one
    in the queue."""
    first, second, third = daemon.queue(partitions)
    mattes = Path(workspace.output)
    daemon.wait_until(lambda: any(mattes.glob("**/matted/art/00000/*.png")), "a matte")
    daemon.hold(first)
    daemon.wait_for_a_slot(second)
    assert [run.run_id for run in daemon.instance.get_runs()] == [third, second, first]
    assert daemon.statuses([first, second, third]) == [STARTED, STARTED, DagsterRunStatus.QUEUED]
    return [first, second, third]


def run_elsewhere(instance: DagsterInstance) -> str:
    """A run of another partition, which a process of another host works on."""
    run_id = make_new_run_id()
    process = replace(Process.current(), host="elsewhere")
    tags = {
        PROCESS_TAG: f"{run_id} {process.text()}",
        ALIVE_TAG: datetime.now(UTC).isoformat(),
        PARTITION: "art-99999",
    }
    instance.add_run(DagsterRun(job_name=SHARD_JOB, run_id=run_id, status=STARTED, tags=tags))
    return run_id


def scheduled(instance: DagsterInstance) -> set[str]:
    """The partitions that the backfill schedule requests now."""
    settings = load_settings()
    repository = automated(build_definitions(settings), settings).get_repository_def()
    resources = {"stores": repository.get_top_level_resources()["stores"]}
    with build_schedule_context(
        instance, scheduled_execution_time=datetime.now(UTC), repository_def=repository, resources=resources
    ) as context:
        requested: Any = repository.get_schedule_def(BACKFILL_SCHEDULE)(context)
    return set() if isinstance(requested, SkipReason) else {one.partition_key for one in requested}


def said_at_the_end_of(run_id: str, instance: DagsterInstance) -> str:
    (entry,) = instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE)
    return entry.get_dagster_event().message or ""


def assert_all_is_done(daemon: Daemon, runs: list[str], failed: list[str], profile_retries: bool) -> None:
    """The others succeed, and what failed is done again: by a retry of the daemon where the profile says so,
    else it is what the schedule requests."""
    daemon.wait_for(FAILURE, *failed)
    daemon.wait_for(SUCCESS, *(run_id for run_id in runs if run_id not in failed))
    if profile_retries:
        for run_id in failed:
            daemon.wait_for_success_of_its_retry(run_id)
    expected = {daemon.run(run_id).tags[PARTITION] for run_id in failed}
    assert scheduled(daemon.instance) == (set() if profile_retries else expected)
    assert daemon.instance.event_log_storage.get_concurrency_info(GPU_POOL).claimed_slots == []


def test_a_killed_worker_holds_up_nobody(daemon: Daemon, runs: list[str]) -> None:
    daemon.send(runs[0], signal.SIGKILL)
    assert_all_is_done(daemon, runs, runs[:1], daemon.instance.run_retries_enabled)


def test_what_a_power_cut_leaves_is_found_by_the_sensor(daemon: Daemon, runs: list[str]) -> None:
    daemon.cut_power()
    assert daemon.statuses(runs) == [STARTED, STARTED, DagsterRunStatus.QUEUED]
    elsewhere = run_elsewhere(daemon.instance)
    daemon.start()
    daemon.wait_for(FAILURE, *runs[:2])
    assert [said_at_the_end_of(run_id, daemon.instance) for run_id in runs[:2]] == ["its process is gone"] * 2
    assert daemon.run(elsewhere).status is STARTED
    daemon.instance.delete_run(elsewhere)  # It takes one of the two places.
    assert_all_is_done(daemon, runs, runs[:2], daemon.instance.run_retries_enabled)


def test_a_killed_daemon_does_not_fail_the_runs_that_go_on(
    daemon: Daemon,
    runs: list[str],
    workspace: Workspace,  # noqa: F811
) -> None:
    daemon.kill()
    daemon.start()
    daemon.wait_for_the_sensor()
    daemon.send(runs[0], signal.SIGCONT)
    daemon.wait_for(SUCCESS, *runs)
    assert [row.attempts for row in workspace.rows(MATTED).values()] == [1] * SHARDS * IMAGES


@pytest.mark.timeout(1200)
def test_a_backfill_goes_on_after_its_daemon_was_killed(
    daemon: Daemon,
    partitions: list[str],
    workspace: Workspace,  # noqa: F811
) -> None:
    daemon.start_sensor(ARRIVAL_SENSOR)
    backfill = daemon.backfill(partitions)
    mattes = Path(workspace.output)
    daemon.wait_until(lambda: any(mattes.glob("**/matted/art/*/*.png")), "a matte")
    holders: list[str] = []

    def is_held() -> bool:
        holders.extend(at_work(daemon.instance))
        return bool(holders)

    daemon.wait_until(is_held, "a run with the slot of the GPU")
    stopped = holders[0]
    daemon.hold(stopped)  # In the middle, whatever the others do.
    daemon.kill()
    for number in range(IMAGES):
        write_drawing(workspace.source, f"later {number}.png", seed=100 + number)
    daemon.start()
    daemon.wait_for_the_sensor()
    daemon.send(stopped, signal.SIGCONT)
    daemon.wait_for(SUCCESS, stopped)
    every = [*partitions, f"art-{SHARDS:05}"]
    daemon.wait_until(lambda: ended_well(backfill, daemon.instance), "the end of the backfill")
    daemon.wait_until(
        lambda: sorted(finished(daemon.instance)) == every, "one run for each partition, the new one included"
    )
    assert [row.attempts for row in workspace.rows(MATTED).values()] == [1] * len(every) * IMAGES
    runs = {run.run_id for run in daemon.instance.get_runs()}
    for check in build_definitions(load_settings()).resolve_asset_graph().asset_check_keys:
        found = daemon.instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
        assert sorted(record.run_id for record in found) == sorted(runs), check
        assert {record.status for record in found} <= EVALUATED, check


EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def at_work(instance: DagsterInstance) -> set[str]:
    """The run that holds the only slot of the GPU."""
    return instance.event_log_storage.get_concurrency_info(GPU_POOL).active_run_ids


def ended_well(backfill: str, instance: DagsterInstance) -> bool:
    found = instance.get_backfill(backfill)
    return found is not None and found.status is BulkActionStatus.COMPLETED_SUCCESS


def finished(instance: DagsterInstance) -> list[str]:
    """The partition of every run there is; none while one is under way or failed."""
    runs = instance.get_runs()
    return [run.tags[PARTITION] for run in runs] if {run.status for run in runs} == {SUCCESS} else []
