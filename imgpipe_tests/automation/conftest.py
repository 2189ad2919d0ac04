"""An automated site: a source, an output, an instance, and ticks of sensor and schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from dagster import (
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    ScheduleEvaluationContext,
    SensorResult,
    SkipReason,
    build_schedule_context,
    build_sensor_context,
)

from imgpipe.assets.graph import build_definitions
from imgpipe.automation.arrival import ARRIVAL_SENSOR
from imgpipe.automation.backfill import BACKFILL_SCHEDULE
from imgpipe.automation.build import automated
from imgpipe.automation.retry import RETRY_FAILED_SENSOR
from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.partitions import add_partitions
from imgpipe.records import ImageRow
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage import keys
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.opening import Stores, open_stores
from imgpipe_tests.storage.manifests import read_rows_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Site:
    """``now`` is the time of the ticks; ``run_keys`` those that the daemon has seen."""

    folder: Path
    instance: DagsterInstance
    values: Mapping[str, Any]
    now: datetime = START
    cursor: str | None = None
    run_keys: set[str] = field(default_factory=set)
    on_row: RowListener = ignore_row

    def __post_init__(self) -> None:
        (self.folder / "source").mkdir(exist_ok=True)
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Replace the settings, as a restart of the code location does."""
        self.values = {**self.values, **changes}
        self.settings: Settings = load_settings(
            {
                "source": str(self.folder / "source"),
                "output": str(self.folder / "output"),
                "dataset": "art",
                "actions": ["upscale"],
                "upscale.model": "lanczos",
                "upscale.scale": 2,
                "quality.diff": False,
                "isolation.mode": "none",
                "workers": 1,
                "limits.max_deleted_share": 1,  # a handful of sources: each is a large share
                **self.values,
            }
        )
        graph = build_definitions(self.settings, lambda *row: self.on_row(*row))
        self.definitions: Definitions = automated(graph, self.settings)
        self._repository = self.definitions.get_repository_def()

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def stores(self) -> Stores:
        return open_stores(self.settings, source_moved=True)

    def sense(self, monkeypatch: pytest.MonkeyPatch) -> SensorResult:
        """One tick of the arrival sensor, as the daemon makes it: partitions, then the cursor."""
        import imgpipe.automation.arrival as module

        now = self.now

        class Clock:
            @staticmethod
            def now(zone: Any) -> datetime:
                return now.astimezone(zone)

        monkeypatch.setattr(module, "datetime", Clock)
        sensor = self._repository.get_sensor_def(ARRIVAL_SENSOR)
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self._repository,
            resources=self._resources(),
        ) as context:
            result = sensor(context)
        assert isinstance(result, SensorResult)
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        self.cursor = result.cursor
        return result

    def sense_retries(self) -> list[RunRequest]:
        """One tick of the sensor that retries failed images; empty where it requests nothing."""
        sensor = self._repository.get_sensor_def(RETRY_FAILED_SENSOR)
        with build_sensor_context(
            instance=self.instance, repository_def=self._repository, resources=self._resources()
        ) as context:
            result = sensor(context)
        if isinstance(result, SkipReason):
            return []
        assert isinstance(result, list)
        return result

    def schedule(self) -> list[RunRequest] | SkipReason:
        """One tick of the backfill schedule."""
        result = self.tick(BACKFILL_SCHEDULE)
        assert isinstance(result, list | SkipReason)
        return result

    def tick(self, name: str) -> list[RunRequest] | RunRequest | SkipReason:
        """One tick of a schedule."""
        schedule: Any = self._repository.get_schedule_def(name)
        # A schedule's context opens its instance by reference, which one in memory does not have.
        with (
            mock.patch.object(ScheduleEvaluationContext, "instance", self.instance),
            build_schedule_context(
                scheduled_execution_time=self.now,
                repository_def=self._repository,
                resources=self._resources(),
            ) as context,
        ):
            result: list[RunRequest] | RunRequest | SkipReason = schedule(context)
        return result

    def launch(self, request: RunRequest, *, raises: bool = True) -> ExecuteInProcessResult | None:
        """Run a request in this process; ``None`` where its run key was used before."""
        if request.run_key in self.run_keys:
            return None
        self.run_keys.add(str(request.run_key))
        return self.run(request.job_name or "shard_job", str(request.partition_key), request.tags, raises)

    def run(
        self, job: str, partition: str, tags: Mapping[str, str] | None = None, raises: bool = True
    ) -> ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            tags=dict(tags or {}),
            run_config=QUIET,
            raise_on_error=raises,
        )

    def materialize_all(self) -> None:
        """Materialize every sealed shard."""
        shards = list_shards(self.stores.output, "art")
        add_partitions(self.settings, self.instance, shards)
        for shard in shards:
            self.run("shard_job", keys.partition_key("art", shard))

    def rows(self, asset: str = QUALITY) -> dict[str, ImageRow]:
        return read_rows_of(self.stores.output, "art", asset)

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def _resources(self) -> dict[str, object]:
        return {"stores": self._repository.get_top_level_resources()["stores"]}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance in memory, its compute logs in a folder of the test's own."""
    with DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Shards of three images, sealed at once."""
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path, instance, {"shard_size": 3, "automation.max_wait_seconds": 0})
