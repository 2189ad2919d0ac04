"""Declarative automation in place of the backfill schedule (``automation.mode: conditions``).

Every image asset is materialized for a partition as soon as the partition exists or one of its inputs was
materialized again; Dagster's sensor evaluates this, and its history in the UI shows the reasons. The arrival
sensor still adds partitions and requests runs for changed sources, which conditions do not detect.

Unlike the schedule, conditions do not consider settings, models or the stages' code (a change of these needs
a backfill from the UI, `imgpipe run`, or the schedule), errors that a retry may clear, priorities or budgets;
and they launch one run per asset where several become due one after the other.
"""

from __future__ import annotations

import warnings

from dagster import (
    AssetSelection,
    AssetSpec,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    Definitions,
)
from dagster_shared.utils.warnings import PreviewWarning

from imgpipe.automation.tags import trigger_tags
from imgpipe.config import Settings
from imgpipe.resources.naming import asset_key, named
from imgpipe.stages.chain import REPORT, steps

CONDITIONS_SENSOR = "conditions_sensor"


def with_conditions(definitions: Definitions, settings: Settings) -> Definitions:
    """The same definitions with a condition on every asset."""
    chain = {asset_key(settings, step.asset) for step in steps(settings)}

    def conditioned(spec: AssetSpec) -> AssetSpec:
        if spec.key in chain:
            # Missing or older than its upstreams, once these exist and none is in progress.
            return spec.replace_attributes(automation_condition=AutomationCondition.eager())
        if spec.key == asset_key(settings, REPORT):
            return spec.replace_attributes(automation_condition=AutomationCondition.on_cron("@hourly"))
        return spec

    with warnings.catch_warnings():
        # A preview API: replace it here where it changes.
        warnings.simplefilter("ignore", PreviewWarning)
        return definitions.map_resolved_asset_specs(func=conditioned)


def build_conditions_sensor(settings: Settings) -> AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions; its runs carry imgpipe's tags."""
    return AutomationConditionSensorDefinition(
        named(settings, CONDITIONS_SENSOR),
        target=AssetSelection.assets(
            *(asset_key(settings, name) for name in (*(step.asset for step in steps(settings)), REPORT))
        ),
        run_tags=trigger_tags(settings, "conditions"),
        default_status=(
            DefaultSensorStatus.RUNNING if settings.automation.enabled else DefaultSensorStatus.STOPPED
        ),
    )
