"""Shared code of the schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagster import DagsterRunStatus, DefaultScheduleStatus, ScheduleDefinition, schedule

from imgpipe.config import Settings
from imgpipe.resources.naming import named
from imgpipe.resources.stores import stores_key

#: Statuses of runs that will start or have started and are not finished.
UNDER_WAY = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
)


def utc_schedule(
    settings: Settings, name: str, job_name: str, cron: str, description: str
) -> Callable[[Callable[..., Any]], ScheduleDefinition]:
    """The decorator of a schedule in UTC; running from the start where ``automation.enabled`` is set."""
    return schedule(
        cron_schedule=cron,
        name=named(settings, name),
        job_name=named(settings, job_name),
        required_resource_keys={stores_key(settings)},
        execution_timezone="UTC",
        default_status=(
            DefaultScheduleStatus.RUNNING if settings.automation.enabled else DefaultScheduleStatus.STOPPED
        ),
        description=description,
    )
