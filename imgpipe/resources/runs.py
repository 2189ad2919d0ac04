"""Dagster runs and the processes that work on them.

A run names its process in a tag and renews a second tag while it works. A run that is under way although its
process is gone, killed or lost with its machine, is marked as failed and its slots of pools are freed:
otherwise it would count as under way for ever. The process of another host cannot be asked; its runs are
left alone as long as they give a sign of life.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from imgpipe.processes import Process

#: Run tag: the run's id, since re-executions inherit tags, and the process that works on it
#: (:meth:`Process.text`).
PROCESS_TAG = "imgpipe/process"
#: Run tag: when that process last gave a sign of life, UTC.
ALIVE_TAG = "imgpipe/alive"
ALIVE_SECONDS = 60.0
#: A run of another host without a sign of life for this long is dead, seconds; it bears clocks that differ.
DEAD_AFTER_SECONDS = 600.0
#: A run that has started names its process within seconds; one that has not after this long was killed
#: before; it bears clocks that differ.
UNNAMED_SECONDS = 300.0

_DEFINITIONS = "imgpipe.definitions"
_PARTITION_TAG = "dagster/partition"
_WORKED_ON = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
log = logging.getLogger(__name__)


def process_tags(run_id: str) -> dict[str, str]:
    """The tags of a run that this process works on."""
    return {PROCESS_TAG: f"{run_id} {Process.current().text()}", ALIVE_TAG: datetime.now(UTC).isoformat()}


class SignOfLife:
    """Keeps the tags of a run fresh until :meth:`end`, in a thread of its own."""

    def __init__(self, instance: DagsterInstance, run_id: str) -> None:
        self._instance = instance
        self._run_id = run_id
        self._ended = threading.Event()
        self._give()
        self._thread = threading.Thread(target=self._repeat, name="imgpipe-alive", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(ALIVE_SECONDS):
            self._give()

    def _give(self) -> None:
        try:
            self._instance.add_run_tags(self._run_id, process_tags(self._run_id))
        except Exception as exc:  # The database's errors share no base class; the run itself goes on.
            log.warning("run %s: no sign of life could be written: %s", self._run_id, exc)


def end_dead_runs(instance: DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and free slots of runs that are over for those that wait.

    Returns one line for each run that was ended. Runs of other code are left alone.
    """
    ended = []
    for record in instance.get_run_records(RunsFilter(statuses=_WORKED_ON)):
        run = record.dagster_run
        why = _why_dead(record)
        if not why:
            continue
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, why)
        else:
            instance.report_run_failed(run, why)
        ended.append(f"{describe(run)}: {why}; it is marked as ended and its slots are free")
    free_slots_of_ended_runs(instance)
    _hand_out_free_slots(instance)
    return ended


def free_slots_of_ended_runs(instance: DagsterInstance) -> None:
    """Free the slots of pools that finished and deleted runs hold; Dagster's daemon takes a minute for it."""
    events = instance.event_log_storage
    if not events.supports_global_concurrency_limits:
        return
    for run_id in events.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            events.free_concurrency_slots_for_run(run_id)


def _hand_out_free_slots(instance: DagsterInstance) -> None:
    """Give a free slot of a pool to the step that waits longest for it.

    Dagster 1.13 does so when a slot is freed, and overlooks a step that is at that moment between its look at
    the slots and its entry in the queue: that step waits until another run frees a slot, or for ever.
    """
    events = instance.event_log_storage
    if not isinstance(events, SqlEventLogStorage):
        return
    for pool in events.get_concurrency_keys():
        if events.has_unassigned_slots(pool):
            events.assign_pending_steps([pool])


def describe(run: DagsterRun) -> str:
    """A run for people: its number as the UI shows it, its partition, its process."""
    process = _process(run)
    of = f" of {run.tags[_PARTITION_TAG]}" if _PARTITION_TAG in run.tags else f" of {run.job_name}"
    return f"run {run.run_id[:8]}{of} ({process or 'process unknown'})"


def _process(run: DagsterRun) -> Process | None:
    run_id, _, process = run.tags.get(PROCESS_TAG, "").partition(" ")
    return Process.parse(process) if run_id == run.run_id else None


def _why_dead(record: RunRecord) -> str:
    """Why the run's process is known to be gone; empty where it is not."""
    run = record.dagster_run
    process = _process(run)
    if process is None:
        return _why_dead_unnamed(record)
    gone = process.is_gone()
    if gone is not None:
        return "its process is gone" if gone else ""
    silent = (datetime.now(UTC) - datetime.fromisoformat(run.tags[ALIVE_TAG])).total_seconds()
    return f"no sign of life for {silent / 60:.0f} minutes" if silent > DEAD_AFTER_SECONDS else ""


def _why_dead_unnamed(record: RunRecord) -> str:
    """The same for a run that names no process: killed between its start and that. One that has not started
    is ended by Dagster's ``start_timeout_seconds``."""
    origin = record.dagster_run.job_code_origin
    pointer = origin.repository_origin.code_pointer if origin is not None else None
    if not isinstance(pointer, ModuleCodePointer) or pointer.module != _DEFINITIONS:
        return ""
    if record.dagster_run.status is not DagsterRunStatus.STARTED or record.start_time is None:
        return ""
    since = datetime.now(UTC).timestamp() - record.start_time
    return f"it has not named its process {since:.0f} s after its start" if since > UNNAMED_SECONDS else ""
