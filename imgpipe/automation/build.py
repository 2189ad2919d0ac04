"""Adds jobs, sensors and schedules to the assets of a data set."""

from __future__ import annotations

from dagster import AssetSelection, Definitions, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from imgpipe.assets.graph import build_definitions
from imgpipe.automation.arrival import build_arrival_sensor
from imgpipe.automation.backfill import build_backfill_schedule
from imgpipe.automation.conditions import build_conditions_sensor, with_conditions
from imgpipe.automation.dead_runs import build_dead_runs_sensor
from imgpipe.automation.report import build_report_schedule
from imgpipe.automation.tags import trigger_tags
from imgpipe.config import Settings
from imgpipe.engines.retry import Mode, Retry
from imgpipe.resources.naming import asset_key, named
from imgpipe.stages.chain import steps

RETRY_FAILED_JOB = "retry_failed_job"


def dataset_definitions(settings: Settings) -> Definitions:
    """Everything that Dagster shows of a data set."""
    return automated(build_definitions(settings), settings)


def automated(definitions: Definitions, settings: Settings) -> Definitions:
    """The definitions with the retry job, the sensor that ends dead runs, and the sensors and schedules of
    ``settings.automation.mode``."""
    jobs = [build_retry_job(settings)]
    match settings.automation.mode:
        case "off":
            added = Definitions(jobs=jobs)
        case "conditions":
            definitions = with_conditions(definitions, settings)
            added = Definitions(
                jobs=jobs, sensors=[build_arrival_sensor(settings), build_conditions_sensor(settings)]
            )
        case "schedule":
            added = Definitions(
                jobs=jobs,
                sensors=[build_arrival_sensor(settings)],
                schedules=[build_backfill_schedule(settings), build_report_schedule(settings)],
            )
    return Definitions.merge(definitions, added, Definitions(sensors=[build_dead_runs_sensor(settings)]))


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
