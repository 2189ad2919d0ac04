"""Runs of the jobs inside this process, written to the Dagster instance that the UI opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from dagster import AssetCheckEvaluation, DagsterInstance, Definitions

from imgpipe.assets.graph import REPORT_JOB, SHARD_JOB, build_definitions
from imgpipe.config import Settings, dump_settings
from imgpipe.engines.retry import DUE, Retry
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.storage import keys

#: Where runs are kept when ``DAGSTER_HOME`` is not set, below the working directory.
DEFAULT_HOME = Path(".imgpipe") / "dagster"

#: Log to the instance only: the console shows progress bars.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def dagster_home() -> Path:
    """``DAGSTER_HOME``, else :data:`DEFAULT_HOME`; an absolute path that may not exist yet."""
    named = os.environ.get("DAGSTER_HOME")
    return Path(named).expanduser().absolute() if named else DEFAULT_HOME.absolute()


def prepare_home() -> Path:
    """The instance's folder, created where needed, with the shipped ``dagster.yaml`` unless it has one."""
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    target = home / "dagster.yaml"
    if not target.exists():
        with as_file(files("imgpipe.resources") / "dagster.yaml") as shipped:
            shutil.copyfile(shipped, target)
    return home


def remember_settings(settings: Settings) -> Path:
    """Write the settings of this run to the instance's folder, where ``imgpipe ui`` reads them."""
    path = prepare_home() / "imgpipe.yaml"
    path.write_text(
        "# The settings of the last `imgpipe run`; `imgpipe ui` uses them.\n" + dump_settings(settings),
        encoding="utf-8",
    )
    return path


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """The instance of :func:`dagster_home`; the UI shows everything that is written to it."""
    home = prepare_home()
    os.environ["DAGSTER_HOME"] = str(home)
    with DagsterInstance.from_config(str(home)) as instance:
        yield instance


class Launcher:
    """Materializes shards one after the other in this process, so that models are loaded once."""

    def __init__(
        self, settings: Settings, instance: DagsterInstance, on_row: RowListener = ignore_row
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._definitions: Definitions = build_definitions(settings, on_row)

    def run_shard(self, shard: str, retry: Retry = DUE) -> Sequence[AssetCheckEvaluation]:
        """Run all stages and checks of one shard; an error that stops the run is raised unchanged."""
        partition = keys.partition_key(self._settings.dataset, shard)
        return self._execute(SHARD_JOB, partition, retry.tags())

    def run_report(self) -> None:
        """Build the data set's report."""
        self._execute(REPORT_JOB, None, {})

    def _execute(
        self, job_name: str, partition_key: str | None, tags: Mapping[str, str]
    ) -> Sequence[AssetCheckEvaluation]:
        job = self._definitions.resolve_job_def(job_name)
        result = job.execute_in_process(
            instance=self._instance, partition_key=partition_key, run_config=_QUIET, tags=tags
        )
        return result.get_asset_check_evaluations()
