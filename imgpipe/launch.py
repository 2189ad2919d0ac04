"""Runs of the jobs inside this process, written to the Dagster instance that the UI opens."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from dagster import AssetCheckEvaluation, DagsterInstance, Definitions, ExecuteInProcessResult
from dagster._core.instance.ref import InstanceRef
from dagster._core.utils import make_new_run_id
from sqlalchemy.exc import DBAPIError, OperationalError

from imgpipe.assets.graph import REPORT_JOB, SHARD_JOB, build_definitions
from imgpipe.assets.images import GPU_POOL
from imgpipe.config import Settings, dagster_home, dump_settings, last_settings_file
from imgpipe.engines.retry import DUE, Retry
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.engines.stop import GRACE_SECONDS, STOP
from imgpipe.errors import DISK_FAULTS, ConfigError, ImgpipeError, StoreUnavailable
from imgpipe.processes import Process
from imgpipe.resources.naming import named
from imgpipe.resources.runs import describe, end_dead_runs, free_slots_of_ended_runs, process_tags
from imgpipe.storage import keys

_NO_COMPUTE_LOGS = {
    "module": "dagster._core.storage.noop_compute_log_manager",
    "class": "NoOpComputeLogManager",
}
#: What a folder must be able to take, bytes: the databases and the first run.
_PROBE_BYTES = 1_048_576
_MESSAGE_CHARACTERS = 300
#: How often a run that is under way is looked at, seconds.
_LOOK_SECONDS = 2.0
#: How long Dagster may take to write down that a run was stopped, seconds.
_BOOKING_SECONDS = 5.0
log = logging.getLogger(__name__)

#: Log to the instance only: the console shows progress bars.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def prepare_home() -> Path:
    """The instance's folder, created where needed, with the shipped ``dagster.yaml`` unless it has one.

    Raises :class:`ConfigError` where it cannot be made or written, :class:`StoreUnavailable` where its disk
    is full or broken.
    """
    home = dagster_home()
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            with as_file(files("imgpipe.resources") / "dagster.yaml") as shipped:
                shutil.copyfile(shipped, target)
        with tempfile.TemporaryFile(dir=home) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as exc:
        raise _unusable(exc) from exc
    return home


def remember_settings(settings: Settings) -> Path:
    """Write the settings of this run to the instance's folder, where ``imgpipe ui`` reads them."""
    prepare_home()
    path = last_settings_file()
    text = "# The settings of the last `imgpipe run`; `imgpipe ui` uses them.\n" + dump_settings(settings)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise _unusable(exc) from exc
    return path


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """The instance of :func:`dagster_home`; the UI shows everything that is written to it.

    Raises as :func:`prepare_home`, and :class:`ConfigError` where ``dagster.yaml`` or a database is broken.
    """
    home = prepare_home()
    os.environ["DAGSTER_HOME"] = str(home)
    # Output of steps goes to the terminal. Dagster would copy it through child processes, which Ctrl-C hits.
    try:
        ref = InstanceRef.from_dir(str(home), overrides={"compute_logs": _NO_COMPUTE_LOGS})
        instance = DagsterInstance.from_ref(ref)
        # Each of its databases is opened once: one that is broken is told here, not in the middle of a run.
        instance.get_runs_count()
        instance.get_dynamic_partitions("")
        instance.event_log_storage.get_concurrency_run_ids()
        instance.run_storage.set_cursor_values({"imgpipe": Process.current().text()})
    except Exception as exc:  # Dagster's, YAML's and the database's errors share no other base class.
        raise _unusable(exc) from exc
    with instance:
        yield instance


def check_instance() -> None:
    """Raise what :func:`open_instance` raises."""
    with open_instance():
        pass


def _unusable(exc: Exception) -> ImgpipeError:
    """imgpipe's error for an instance that cannot be used."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    said = f"{type(cause).__name__}: {' '.join(str(cause).split())[:_MESSAGE_CHARACTERS]}"
    if isinstance(exc, OperationalError) or (isinstance(exc, OSError) and exc.errno in DISK_FAULTS):
        return StoreUnavailable(
            f"{dagster_home()}: Dagster's runs cannot be stored: {said}; check the disk, its free space and "
            "permissions (or the database's server), or set DAGSTER_HOME to another folder"
        )
    return ConfigError(
        f"{dagster_home()}: expected a folder for Dagster's runs that can be read and written, got "
        f"{said}; mend it, or set DAGSTER_HOME to another folder"
    )


class Launcher:
    """Materializes shards one after the other in this process, so that models are loaded once.

    Runs work in a thread of their own. So the calling thread hears signals: Dagster itself, in a main thread,
    holds them back while it waits for a slot of a pool. An exception that is raised in the calling thread
    stops the run (:data:`~imgpipe.engines.stop.STOP`), marks it as canceled and is raised again. ``say``
    is told what a run waits for, and how far a report has come.
    """

    def __init__(
        self,
        settings: Settings,
        instance: DagsterInstance,
        on_row: RowListener = ignore_row,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._definitions: Definitions = build_definitions(settings, on_row, say)
        self._say = say
        self._said = ""

    def run_shard(self, shard: str, retry: Retry = DUE) -> Sequence[AssetCheckEvaluation]:
        """Run all stages and checks of one shard; an error that stops the run is raised unchanged."""
        partition = keys.partition_key(self._settings.dataset, shard)
        return self._execute(named(self._settings, SHARD_JOB), partition, retry.tags())

    def run_report(self, tags: Mapping[str, str]) -> None:
        """Build the data set's report."""
        self._execute(named(self._settings, REPORT_JOB), None, tags)

    def _execute(
        self, job_name: str, partition_key: str | None, tags: Mapping[str, str]
    ) -> Sequence[AssetCheckEvaluation]:
        run_id = make_new_run_id()
        job = self._definitions.resolve_job_def(job_name)
        execute = partial(
            job.execute_in_process,
            instance=self._instance,
            partition_key=partition_key,
            run_config=_QUIET,
            tags={**tags, **process_tags(run_id)},
            run_id=run_id,
        )
        STOP.clear()
        try:
            return self._watched(run_id, _in_thread(execute)).get_asset_check_evaluations()
        except DBAPIError as exc:
            raise _unusable(exc) from exc
        except OSError as exc:
            if not str(exc.filename).startswith(str(dagster_home())):
                raise
            raise _unusable(exc) from exc

    def _watched(self, run_id: str, run: Future[ExecuteInProcessResult]) -> ExecuteInProcessResult:
        try:
            while not wait([run], timeout=_LOOK_SECONDS).done:
                self._say_what_it_waits_for(run_id)
        except BaseException:
            self._stop(run_id, run)
            raise
        return run.result()

    def _say_what_it_waits_for(self, run_id: str) -> None:
        events = self._instance.event_log_storage
        pool = events.get_concurrency_info(GPU_POOL)
        if run_id not in pool.pending_run_ids:
            return
        for ended in end_dead_runs(self._instance):
            self._say(ended)
        holders = [self._instance.get_run_by_id(other) for other in sorted(pool.active_run_ids)]
        said = ", ".join(describe(holder) for holder in holders if holder is not None)
        if said != self._said:
            self._said = said
            self._say(
                f"waiting for a slot of the pool {GPU_POOL} ({pool.slot_count} in all), held by "
                f"{said or 'nobody'}; cancel that run in the UI if it is not meant"
            )

    def _stop(self, run_id: str, run: Future[ExecuteInProcessResult]) -> None:
        """Ask the run to stop, and end it in Dagster's books where it does not in time."""
        found = self._instance.get_run_by_id(run_id)
        if found is not None and not found.is_finished:
            self._instance.report_run_canceling(found)
        STOP.request()
        waits = run_id in self._instance.event_log_storage.get_concurrency_info(GPU_POOL).pending_run_ids
        wait([run], timeout=0 if waits else GRACE_SECONDS + _BOOKING_SECONDS)
        found = self._instance.get_run_by_id(run_id)
        if found is not None and not found.is_finished:
            self._instance.report_run_canceled(found)
        free_slots_of_ended_runs(self._instance)


def _in_thread(execute: Callable[[], ExecuteInProcessResult]) -> Future[ExecuteInProcessResult]:
    """The call, under way in a thread that does not outlive the process."""
    future: Future[ExecuteInProcessResult] = Future()

    def work() -> None:
        try:
            future.set_result(execute())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=work, name="imgpipe-run", daemon=True).start()
    return future
