"""Dagster's daemon, with its code server and run workers, as processes that tests kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._cli.job import _create_run
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.utils import make_new_backfill_id
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from imgpipe.assets.graph import SHARD_JOB
from imgpipe.assets.images import GPU_POOL
from imgpipe.processes import Process
from imgpipe.resources.runs import PROCESS_TAG
from imgpipe_tests.end_to_end.command import hold

PARTITION = "dagster/partition"
_DEFINITIONS = "imgpipe.definitions"
_PATIENCE_SECONDS = 180.0
#: A machine with much other work starts a run's process later than within Dagster's minute.
_PATIENT = {"DAGSTER_GRPC_TIMEOUT_SECONDS": "600"}
#: In every process of the daemon: the CPU stands for a GPU, so that networks take slots of its pool, and the
#: sensor looks at every chance, every five seconds.
_SITE = """
from imgpipe.assets import images
from imgpipe.automation import dead_runs
images.may_use_cuda = lambda setting: True
dead_runs.ALIVE_SECONDS = 1.0
"""


@dataclass
class Daemon:
    """``dagster-daemon run`` on ``instance``, whose folder is ``home``."""

    instance: DagsterInstance
    home: Path
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    def start(self) -> None:
        log_path = self.home / f"daemon-{len(self._processes)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-m", _DEFINITIONS],
                cwd=self.home,
                env={**os.environ, **_PATIENT, "PYTHONPATH": str(self.home / "site")},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def kill(self) -> None:
        """The daemon alone; its code server ends when its last run has ended."""
        self._processes[-1].kill()
        self._processes[-1].wait(30)

    def cut_power(self) -> None:
        """The daemon, its code servers and all run workers."""
        for process in self._processes:
            while members := _of_session(process.pid):
                for pid in members:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
            process.wait(30)

    def wait_for_the_sensor(self) -> None:
        """Until the daemon that was started last has looked for dead runs."""
        log = self.home / f"daemon-{len(self._processes) - 1}.log"
        self.wait_until(lambda: "dead_runs_sensor skipped" in log.read_text(), "a tick of the sensor")

    def queue(self, partitions: Sequence[str]) -> list[str]:
        """Put one run per partition into the queue; their ids."""
        with self._workspace() as (workspace, location, repository):
            job = repository.get_full_job(SHARD_JOB)
            made = [
                _create_run(
                    instance=self.instance,
                    code_location=location,
                    remote_repo=repository,
                    remote_job=job,
                    run_config={},
                    tags={PARTITION: partition},
                    op_selection=None,
                    run_id=None,
                )
                for partition in partitions
            ]
            return [self.instance.submit_run(run.run_id, workspace).run_id for run in made]

    def backfill(self, partitions: Sequence[str]) -> str:
        """Ask for all partitioned assets, as the UI does; the backfill's id."""
        with self._workspace() as (workspace, _, _):
            graph = workspace.asset_graph
            made = PartitionBackfill.from_asset_partitions(
                backfill_id=make_new_backfill_id(),
                asset_graph=graph,
                partition_names=partitions,
                asset_selection=[key for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned],
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=self.instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        self.instance.add_backfill(made)
        return made.backfill_id

    def start_sensor(self, name: str) -> None:
        """Switch it on, and wait for its first tick."""
        with self._workspace() as (_, _, repository):
            state = self.instance.start_sensor(repository.get_sensor(name))
        ids = (state.instigator_origin_id, state.selector_id)
        ended = [TickStatus.SKIPPED, TickStatus.SUCCESS]
        self.wait_until(lambda: bool(self.instance.get_ticks(*ids, statuses=ended)), f"a tick of {name}")

    @contextlib.contextmanager
    def _workspace(self) -> Iterator[tuple[Any, Any, Any]]:
        target = ModuleTarget(_DEFINITIONS, None, None, None)
        with WorkspaceProcessContext(self.instance, target) as context:
            workspace = context.create_request_context()
            (location,) = workspace.code_locations
            (repository,) = location.get_repositories().values()
            yield workspace, location, repository

    def run(self, run_id: str) -> DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def statuses(self, run_ids: Sequence[str]) -> list[DagsterRunStatus]:
        return [self.run(run_id).status for run_id in run_ids]

    def send(self, run_id: str, number: signal.Signals) -> None:
        """A signal to the process that works on a run."""
        os.kill(self._pid(run_id), number)

    def hold(self, run_id: str) -> None:
        """Stop the process that works on a run until SIGCONT."""
        hold(self._pid(run_id), self.home)

    def _pid(self, run_id: str) -> int:
        process = Process.parse(self.run(run_id).tags[PROCESS_TAG].partition(" ")[2])
        assert process is not None
        return process.pid

    def wait_for(self, status: DagsterRunStatus, *run_ids: str) -> None:
        self.wait_until(lambda: set(self.statuses(run_ids)) == {status}, f"{run_ids}: {status}")

    def wait_for_success_of_its_retry(self, run_id: str) -> None:
        """Until the run that the daemon started in place of a failed one has succeeded."""
        self.wait_until(
            lambda: any(
                run.parent_run_id == run_id
                for run in self.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))
            ),
            f"{run_id}: success of its retry",
        )

    def wait_for_a_slot(self, run_id: str) -> None:
        """Until a run waits for a slot of the pool that another one holds."""
        pool = self.instance.event_log_storage.get_concurrency_info
        self.wait_until(lambda: run_id in pool(GPU_POOL).pending_run_ids, f"{run_id} waits for a slot")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {_PATIENCE_SECONDS:g} s\n{self._state()}")
            time.sleep(0.1)

    def _state(self) -> str:
        runs = [f"{run.run_id} {run.status} {run.tags}" for run in self.instance.get_runs()]
        logs = [path.read_text(errors="replace")[-4000:] for path in sorted(self.home.glob("daemon-*.log"))]
        return "\n".join([*runs, *logs])


@contextlib.contextmanager
def started(instance: DagsterInstance, home: Path) -> Iterator[Daemon]:
    """A daemon, killed at the end with all that it started."""
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(_SITE)
    daemon = Daemon(instance, home)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.cut_power()


def _of_session(session: int) -> list[int]:
    """Its processes that have not ended, by /proc/PID/stat (proc(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(of) == session and state not in "ZX":
                found.append(int(path.parent.name))
    return found
