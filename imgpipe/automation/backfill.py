"""The backfill schedule: requests one run per partition that is missing, outdated or failed."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)

from imgpipe.assets.graph import SHARD_JOB
from imgpipe.assets.images import uses_gpu
from imgpipe.automation.schedules import UNDER_WAY, utc_schedule
from imgpipe.automation.tags import DATASET, GPU_SECONDS, SIGNATURE, TRIGGER, run_tags
from imgpipe.config import Settings
from imgpipe.engines.backfill import Candidate, candidates, within_budget
from imgpipe.engines.status import fingerprints, shard_statuses
from imgpipe.names import counted
from imgpipe.partitions import add_partitions
from imgpipe.resources.runs import describe, end_dead_runs
from imgpipe.resources.stores import opened_stores
from imgpipe.stages.chain import steps
from imgpipe.storage import keys

BACKFILL_SCHEDULE = "backfill_schedule"
#: As many runs under way are named in a tick.
_NAMED = 3
_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def build_backfill_schedule(settings: Settings) -> ScheduleDefinition:
    """The schedule of this data set; running from the start where ``automation.enabled`` is set."""

    @utc_schedule(
        settings,
        BACKFILL_SCHEDULE,
        SHARD_JOB,
        settings.automation.cron,
        "Requests runs for partitions that are missing, out of date (settings, model or code "
        "changed) or have errors that a retry may clear, the most urgent first, within the budget.",
    )
    def backfill_schedule(context: ScheduleEvaluationContext, **_: object) -> list[RunRequest] | SkipReason:
        end_dead_runs(context.instance)
        opened = opened_stores(context, settings)
        wanted = fingerprints(settings)
        statuses = list(shard_statuses(settings, opened, wanted))
        add_partitions(settings, context.instance, [status.shard for status in statuses])
        gpu_assets = [step.asset for step in steps(settings) if uses_gpu(step, settings)]
        queue = _Queue(settings, context.instance, context.scheduled_execution_time)
        offered = queue.idle(candidates(settings, opened, statuses, wanted, gpu_assets))
        chosen = list(within_budget(offered, slots=queue.slots, gpu_seconds=queue.gpu_seconds_left))
        if chosen:
            return [_request(settings, candidate) for candidate in chosen]
        pending = sum(status.pending for status in statuses)
        every = counted(len(statuses), "partition")
        return SkipReason(f"not complete: {pending} of {every}, none to request: {queue.describe()}")

    return backfill_schedule


class _Queue:
    """The active runs, and what they leave of the budget."""

    def __init__(self, settings: Settings, instance: DagsterInstance, now: datetime) -> None:
        self._settings = settings
        self._instance = instance
        active = instance.get_runs(filters=RunsFilter(statuses=[*UNDER_WAY, DagsterRunStatus.CANCELING]))
        mine = [run for run in active if run.tags.get(DATASET, settings.dataset) == settings.dataset]
        self._under_way = [describe(run) for run in mine]
        self._busy = {run.tags[_PARTITION] for run in mine if _PARTITION in run.tags}
        self._ranges = [
            (run.tags[_RANGE[0]], run.tags[_RANGE[1]])
            for run in mine
            if all(name in run.tags for name in _RANGE)
        ]
        requested = sum(run.tags.get(TRIGGER) == "backfill" for run in mine)
        self.slots = settings.automation.max_partitions_per_tick - requested
        self.gpu_seconds_left = self._gpu_seconds_left(now)
        self._given_up = 0

    def idle(self, offered: Iterator[Candidate]) -> Iterator[Candidate]:
        """Candidates without an active run and with fewer failed runs than ``max_attempts``."""
        for candidate in offered:
            partition = keys.partition_key(self._settings.dataset, candidate.shard)
            if partition in self._busy or any(self._within(partition, *ends) for ends in self._ranges):
                continue
            failed = self._instance.get_runs_count(
                RunsFilter(
                    tags={_PARTITION: partition, SIGNATURE: candidate.signature},
                    statuses=[DagsterRunStatus.FAILURE],
                )
            )
            if failed >= self._settings.automation.max_attempts:
                self._given_up += 1
                continue
            yield candidate

    def describe(self) -> str:
        """Why nothing is requested, for the tick's page in the UI."""
        left = self.gpu_seconds_left
        budget = "no GPU budget" if left is None else f"{max(left, 0) / 60:.1f} GPU minutes left today"
        named = f" ({'; '.join(self._under_way[:_NAMED])})" if self._under_way else ""
        return (
            f"{len(self._under_way)} runs under way{named}, {max(self.slots, 0)} more allowed, {budget}, "
            f"{self._given_up} given up after failed runs"
        )

    def _within(self, partition: str, first: str, last: str) -> bool:
        index = [keys.shard_index(keys.split_partition_key(key)[1]) for key in (first, partition, last)]
        return index == sorted(index)

    def _gpu_seconds_left(self, now: datetime) -> float | None:
        minutes = self._settings.automation.gpu_minutes_per_day
        if minutes is None:
            return None
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        today = self._instance.get_runs(
            filters=RunsFilter(
                tags={TRIGGER: "backfill", DATASET: self._settings.dataset}, created_after=midnight
            )
        )
        return minutes * 60.0 - sum(float(run.tags.get(GPU_SECONDS, "0")) for run in today)


def _request(settings: Settings, candidate: Candidate) -> RunRequest:
    partition = keys.partition_key(settings.dataset, candidate.shard)
    return RunRequest(
        run_key=f"{partition}:{candidate.signature}:{candidate.why.value}",
        partition_key=partition,
        tags={
            **run_tags(settings, trigger="backfill", why=candidate.why.value),
            SIGNATURE: candidate.signature,
            GPU_SECONDS: f"{candidate.gpu_seconds or 0.0:.1f}",
        },
    )
