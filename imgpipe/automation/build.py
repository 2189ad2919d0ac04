"""Adds jobs, sensors and schedules to the assets of a data set."""

from __future__ import annotations

from dagster import Definitions

from imgpipe.assets.graph import build_definitions
from imgpipe.automation.arrival import build_arrival_sensor
from imgpipe.automation.backfill import build_backfill_schedule
from imgpipe.automation.conditions import build_conditions_sensor, with_conditions
from imgpipe.automation.dead_runs import build_dead_runs_sensor
from imgpipe.automation.report import build_report_schedule
from imgpipe.automation.retry import build_retry_job, build_retry_sensor
from imgpipe.config import Settings


def dataset_definitions(settings: Settings) -> Definitions:
    """Everything that Dagster shows of a data set."""
    return automated(build_definitions(settings), settings)


def automated(definitions: Definitions, settings: Settings) -> Definitions:
    """The definitions with the retry job and its sensor, the sensor that ends dead runs, and the sensors and
    schedules of ``settings.automation.mode``."""
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
    always = Definitions(sensors=[build_dead_runs_sensor(settings), build_retry_sensor(settings)])
    return Definitions.merge(definitions, added, always)
