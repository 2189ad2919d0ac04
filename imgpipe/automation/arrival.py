"""The arrival sensor: new, changed and deleted sources become partitions and runs.

Each tick is one bounded scan (:mod:`imgpipe.storage.arrivals`). The run key is the partition and the digest
of its manifest, so that two requests for the same sources start one run.
"""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from collections.abc import Iterable
from datetime import UTC, datetime

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from imgpipe.assets.graph import SHARD_JOB
from imgpipe.automation.tags import run_tags
from imgpipe.config import Settings
from imgpipe.errors import LeaseHeld
from imgpipe.partitions import shard_partitions, unknown_partitions
from imgpipe.resources.naming import named
from imgpipe.resources.stores import opened_stores, stores_key
from imgpipe.storage import keys
from imgpipe.storage.arrivals import Scan, scan
from imgpipe.storage.lease import PLAN, hold
from imgpipe.storage.manifests import list_shards

ARRIVAL_SENSOR = "arrival_sensor"
_DIGEST_DIGITS = 16


def build_arrival_sensor(settings: Settings) -> SensorDefinition:
    """The sensor of this data set; running from the start where ``automation.enabled`` is set."""

    @sensor(
        name=named(settings, ARRIVAL_SENSOR),
        job_name=named(settings, SHARD_JOB),
        required_resource_keys={stores_key(settings)},
        minimum_interval_seconds=settings.automation.interval_seconds,
        default_status=(
            DefaultSensorStatus.RUNNING if settings.automation.enabled else DefaultSensorStatus.STOPPED
        ),
        description="Finds new, changed and deleted sources, seals shards that are full or due, and requests "
        "a run for every affected shard.",
    )
    def arrival_sensor(context: SensorEvaluationContext, **_: object) -> SensorResult:
        opened = opened_stores(context, settings)
        try:
            with hold(opened.output, settings.dataset, PLAN, sleep=None):
                found = scan(opened.source, opened.output, settings, context.cursor, datetime.now(UTC))
        except LeaseHeld as exc:
            return SensorResult(skip_reason=SkipReason(str(exc)), cursor=context.cursor)
        context.log.info("%s", found.describe())
        sealed = list_shards(opened.output, settings.dataset)
        new = unknown_partitions(settings, context.instance, sealed)
        requests = list(run_requests(settings, found))
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else SkipReason(found.describe()),
            cursor=found.cursor,
            dynamic_partitions_requests=[shard_partitions(settings).build_add_request(new)] if new else [],
        )

    return arrival_sensor


def run_requests(settings: Settings, found: Scan) -> Iterable[RunRequest]:
    """One run per affected shard; with declarative conditions, Dagster requests the new shards itself."""
    for shard, digest in found.touched.items():
        if settings.automation.mode == "conditions" and shard in found.sealed:
            continue
        partition = keys.partition_key(settings.dataset, shard)
        yield RunRequest(
            run_key=f"{partition}:{digest[:_DIGEST_DIGITS]}",
            partition_key=partition,
            tags=run_tags(settings, trigger="arrival", why="arrived"),
        )
