"""The report schedule: rebuilds the data set's report and review queue when tables have changed."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

import hashlib
from collections.abc import Mapping, Sequence

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)

from imgpipe.assets.graph import REPORT_JOB
from imgpipe.automation.schedules import UNDER_WAY, utc_schedule
from imgpipe.automation.tags import DATASET, SIGNATURE, TRIGGER
from imgpipe.config import Settings
from imgpipe.resources.stores import opened_stores
from imgpipe.stages.chain import steps
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

REPORT_SCHEDULE = "report_schedule"
#: A failed run is requested again at the next tick.
_GOOD = [*UNDER_WAY, DagsterRunStatus.SUCCESS]


def build_report_schedule(settings: Settings) -> ScheduleDefinition:
    """The schedule of this data set's report; running from the start where ``automation.enabled`` is set."""

    @utc_schedule(
        settings,
        REPORT_SCHEDULE,
        REPORT_JOB,
        settings.automation.report_cron,
        "Rebuilds the report and the review queue where tables or decisions have changed.",
    )
    def report_schedule(context: ScheduleEvaluationContext, **_: object) -> RunRequest | SkipReason:
        tags = report_tags(opened_stores(context, settings).output, settings)
        if not tags[SIGNATURE]:
            return SkipReason("no shard has been made yet")
        if is_reported(context.instance, tags, _GOOD):
            return SkipReason("no table or decision has changed since the last report")
        return RunRequest(tags={**tags, TRIGGER: "report"})

    return report_schedule


def report_tags(output: ImageStore, settings: Settings) -> dict[str, str]:
    """Tags of a run of the report job: the data set, and the :func:`tables_digest` that it reports on."""
    return {DATASET: settings.dataset, SIGNATURE: tables_digest(output, settings)}


def is_reported(
    instance: DagsterInstance,
    tags: Mapping[str, str],
    statuses: Sequence[DagsterRunStatus] = (DagsterRunStatus.SUCCESS,),
) -> bool:
    """Whether a run with these :func:`report_tags` is in one of ``statuses``."""
    wanted = RunsFilter(tags=dict(tags), statuses=list(statuses))
    return instance.get_runs_count(wanted) > 0


def tables_digest(output: ImageStore, settings: Settings) -> str:
    """Digest of the versions of all tables and decisions of the data set; empty where there are no tables."""
    tables = [
        f"{found.key}:{found.etag}"
        for step in steps(settings)
        for found in output.list(keys.table_prefix(step.asset, settings.dataset))
    ]
    if not tables:
        return ""
    decisions = [f"{found.key}:{found.etag}" for found in output.list(keys.review_prefix(settings.dataset))]
    return hashlib.sha256("\n".join([*tables, *decisions]).encode()).hexdigest()[:16]
