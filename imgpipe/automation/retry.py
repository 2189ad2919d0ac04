"""Retries of failed images: the job for chosen partitions, and the sensor that chooses those that need it."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from dagster import (
    AssetSelection,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    define_asset_job,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from imgpipe.automation.tags import run_tags, trigger_tags
from imgpipe.config import Settings
from imgpipe.engines.backfill import signature
from imgpipe.engines.retry import Mode, Retry
from imgpipe.engines.status import State, fingerprints, shard_statuses
from imgpipe.partitions import add_partitions
from imgpipe.resources.naming import asset_key, named
from imgpipe.resources.stores import opened_stores, stores_key
from imgpipe.stages.chain import steps
from imgpipe.storage import keys

RETRY_FAILED_JOB = "retry_failed_job"
RETRY_FAILED_SENSOR = "retry_failed_sensor"
_INTERVAL_SECONDS = 3600


def build_retry_job(settings: Settings) -> UnresolvedAssetJobDefinition:
    """Retries the failed images of a partition and keeps all others, outdated or not.

    A run tag ``imgpipe/retry_reason`` limits it to images whose error or reasons contain that text.
    """
    return define_asset_job(
        named(settings, RETRY_FAILED_JOB),
        selection=AssetSelection.assets(*(asset_key(settings, step.asset) for step in steps(settings))),
        description="Retries images with status error or rejected and keeps all others. A run tag "
        "imgpipe/retry_reason limits it to images whose error or reasons contain that text.",
        tags={**Retry(Mode.FAILED).tags(), **trigger_tags(settings, "retry")},
    )


def build_retry_sensor(settings: Settings) -> SensorDefinition:
    """Requests the job for every partition with rejected or failed images, that is with failed checks.

    It is off from the start: a person previews a tick in the UI and launches what it requests.
    """

    @sensor(
        name=named(settings, RETRY_FAILED_SENSOR),
        job_name=named(settings, RETRY_FAILED_JOB),
        required_resource_keys={stores_key(settings)},
        minimum_interval_seconds=_INTERVAL_SECONDS,
        description="Requests a retry for every partition with rejected or failed images. Preview a tick and "
        "launch all of it; switched on, it retries them once for each change of sources, settings, models "
        "or code.",
    )
    def retry_failed_sensor(context: SensorEvaluationContext, **_: object) -> list[RunRequest] | SkipReason:
        wanted = fingerprints(settings)
        statuses = shard_statuses(settings, opened_stores(context, settings), wanted)
        failed = [one for one in statuses if one.counts.get("rejected", 0) + one.counts.get("error", 0)]
        add_partitions(settings, context.instance, [status.shard for status in failed])
        requests = []
        for status in failed:
            partition = keys.partition_key(settings.dataset, status.shard)
            key = f"{partition}:{signature(status, wanted)}"
            tags = run_tags(settings, trigger="retry", why=State.FAILED.value)
            requests.append(RunRequest(run_key=key, partition_key=partition, tags=tags))
        return requests or SkipReason("no partition has rejected or failed images")

    return retry_failed_sensor
