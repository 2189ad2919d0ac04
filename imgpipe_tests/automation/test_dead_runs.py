"""Runs whose process is gone are ended, and nothing waits for them."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    SkipReason,
    build_sensor_context,
)
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.utils import make_new_run_id

from imgpipe.automation.dead_runs import build_dead_runs_sensor
from imgpipe.config import Settings
from imgpipe.processes import Process
from imgpipe.resources.runs import ALIVE_TAG, PROCESS_TAG, UNNAMED_SECONDS, end_dead_runs, process_tags
from imgpipe.resources.slots import sleep_between_claims
from imgpipe.storage.manifests import plan, seal
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put

HERE = Process.current()
DEAD = replace(HERE, started="1")
ELSEWHERE = replace(HERE, host="elsewhere")


def add_run(
    instance: DagsterInstance,
    process: Process | None,
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    *,
    silent_minutes: float = 0.0,
    run_id: str = "",
) -> str:
    """A run of the partition art-00000 in the books, worked on by ``process``."""
    made = make_new_run_id()
    tags = {"dagster/partition": "art-00000"}
    if process is not None:
        alive = datetime.now(UTC) - timedelta(minutes=silent_minutes)
        tags |= {PROCESS_TAG: f"{run_id or made} {process.text()}", ALIVE_TAG: alive.isoformat()}
    instance.add_run(DagsterRun(job_name="shard_job", run_id=made, status=status, tags=tags))
    return made


def status_of(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("process", "status", "silent", "expected"),
    [
        (DEAD, DagsterRunStatus.STARTED, 0, DagsterRunStatus.FAILURE),
        (DEAD, DagsterRunStatus.STARTING, 0, DagsterRunStatus.FAILURE),
        (DEAD, DagsterRunStatus.NOT_STARTED, 0, DagsterRunStatus.FAILURE),
        (DEAD, DagsterRunStatus.CANCELING, 0, DagsterRunStatus.CANCELED),
        (DEAD, DagsterRunStatus.SUCCESS, 0, DagsterRunStatus.SUCCESS),
        (HERE, DagsterRunStatus.STARTED, 999, DagsterRunStatus.STARTED),
        (ELSEWHERE, DagsterRunStatus.STARTED, 9, DagsterRunStatus.STARTED),
        (ELSEWHERE, DagsterRunStatus.STARTED, 11, DagsterRunStatus.FAILURE),
        (None, DagsterRunStatus.STARTED, 0, DagsterRunStatus.STARTED),
    ],
)
def test_what_is_ended_and_what_is_left_alone(
    instance: DagsterInstance,
    process: Process | None,
    status: DagsterRunStatus,
    silent: float,
    expected: DagsterRunStatus,
) -> None:
    run_id = add_run(instance, process, status, silent_minutes=silent)
    ended = end_dead_runs(instance)
    assert status_of(instance, run_id) is expected
    assert len(ended) == (expected is not status)
    if ended:
        assert f"run {run_id[:8]} of art-00000 ({process})" in ended[0]
    assert end_dead_runs(instance) == []


def test_a_re_execution_inherits_the_tags_but_not_the_death(instance: DagsterInstance) -> None:
    again = add_run(instance, DEAD, DagsterRunStatus.STARTING, run_id=make_new_run_id())
    assert end_dead_runs(instance) == []
    assert status_of(instance, again) is DagsterRunStatus.STARTING


@pytest.mark.parametrize(
    ("module", "seconds", "expected"),
    [
        ("imgpipe.definitions", -1.0, DagsterRunStatus.FAILURE),
        ("imgpipe.definitions", UNNAMED_SECONDS, DagsterRunStatus.STARTED),
        ("another.code", -1.0, DagsterRunStatus.STARTED),
    ],
)
def test_a_run_that_was_killed_before_it_named_its_process(
    instance: DagsterInstance,
    module: str,
    seconds: float,
    expected: DagsterRunStatus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgpipe.resources.runs.UNNAMED_SECONDS", seconds)
    repository = RepositoryPythonOrigin(sys.executable, ModuleCodePointer(module, "defs"))
    made = make_new_run_id()
    instance.add_run(
        DagsterRun(
            job_name="shard_job",
            run_id=made,
            status=DagsterRunStatus.STARTING,
            job_code_origin=JobPythonOrigin("shard_job", repository),
        )
    )
    assert end_dead_runs(instance) == []  # Dagster ends those that do not start.
    started = DagsterEvent(DagsterEventType.RUN_START.value, "shard_job")
    instance.report_dagster_event(started, made)
    assert len(end_dead_runs(instance)) == (expected is DagsterRunStatus.FAILURE)
    assert status_of(instance, made) is expected


@pytest.mark.parametrize("end", ["killed", "deleted", "overlooked"])
def test_slots_of_dead_and_deleted_runs_are_free(tmp_path: Path, end: str) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:  # one in memory has no slots
        _slots_are_freed(instance, end)


def _slots_are_freed(instance: DagsterInstance, end: str) -> None:
    events = instance.event_log_storage
    assert isinstance(events, SqlEventLogStorage)
    events.set_concurrency_slots("gpu", 1)
    run_id = add_run(instance, DEAD)
    assert events.claim_concurrency_slot("gpu", run_id, "matted_images").is_claimed
    other = add_run(instance, HERE)
    assert not events.claim_concurrency_slot("gpu", other, "matted_images").is_claimed
    if end == "deleted":
        instance.delete_run(run_id)
    if end == "overlooked":  # What Dagster leaves where a slot is freed in the moment in which a step asks.
        events._free_concurrency_slots(run_id)
        events._remove_pending_steps(run_id)
    end_dead_runs(instance)
    assert events.claim_concurrency_slot("gpu", other, "matted_images").is_claimed


def test_a_run_that_waits_for_a_slot_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = InstanceConcurrencyContext.interval_to_next_pending_claim_check
    monkeypatch.setattr(InstanceConcurrencyContext, "interval_to_next_pending_claim_check", original)
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 0)
        run = instance.get_run_by_id(add_run(instance, HERE))
        assert run is not None
        sleep_between_claims()
        with InstanceConcurrencyContext(instance, run) as waits:
            monkeypatch.setattr("time.time", lambda: 1000.0)
            assert waits.interval_to_next_pending_claim_check() == 0
            assert not waits.claim("gpu", "matted_images")
            assert waits.interval_to_next_pending_claim_check() == 1
            monkeypatch.setattr("time.time", lambda: 1001.5)
            assert waits.interval_to_next_pending_claim_check() == 0


def test_a_working_run_names_its_process(site: Site, instance: DagsterInstance) -> None:
    put(site.source, "a.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=1), site.stores.output)
    site.materialize_all()
    (run,) = instance.get_runs()
    assert run.tags[PROCESS_TAG] == process_tags(run.run_id)[PROCESS_TAG]
    assert datetime.now(UTC) - datetime.fromisoformat(run.tags[ALIVE_TAG]) < timedelta(minutes=5)


def test_the_sensor_ends_them_and_the_schedule_asks_again(site: Site, instance: DagsterInstance) -> None:
    put(site.source, "a.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=1), site.stores.output)
    first = add_run(instance, DEAD)
    with build_sensor_context(instance=instance) as context:
        said = build_dead_runs_sensor(Settings())(context)
    assert isinstance(said, SkipReason)
    assert first[:8] in str(said.skip_message)
    add_run(instance, DEAD)
    requested = site.schedule()
    assert isinstance(requested, list)
    assert [request.partition_key for request in requested] == ["art-00000"]
