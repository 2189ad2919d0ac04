"""Declarative automation in place of the backfill schedule (``automation.mode: conditions``).

Every image asset is materialized for a partition as soon as the partition is there or what it is made from
was made again; Dagster's own sensor evaluates this, and its history shows why in the UI. The arrival
sensor still adds partitions and requests runs for changed sources, which conditions cannot see.

What the schedule does and conditions do not: they know nothing of settings, models or the stages' code (a
change of these needs a backfill from the UI, `imgpipe run`, or the schedule), of errors that may pass, of
priorities or of budgets; and they launch a run per asset where several become due one after the other.
"""

from __future__ import annotations

import warnings

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    AssetSpec,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    Definitions,
)
from dagster_shared.utils.warnings import PreviewWarning

from imgpipe.automation.tags import DATASET, TRIGGER
from imgpipe.config import Settings
from imgpipe.resources.retries import RETRIES_TAG
from imgpipe.stages.chain import REPORT, steps

CONDITIONS_SENSOR = "conditions_sensor"


def with_conditions(definitions: Definitions, settings: Settings) -> Definitions:
    """The same definitions with a condition on every asset."""
    chain = {step.asset for step in steps(settings)}

    def conditioned(spec: AssetSpec) -> AssetSpec:
        name = spec.key.to_user_string()
        if name in chain:
            return spec.replace_attributes(automation_condition=shard_condition())
        if name == REPORT:
            return spec.replace_attributes(automation_condition=AutomationCondition.on_cron("@hourly"))
        return spec

    with warnings.catch_warnings():
        # A preview API: replace it here where it changes.
        warnings.simplefilter("ignore", PreviewWarning)
        return definitions.map_resolved_asset_specs(func=conditioned)


def shard_condition() -> AutomationCondition[AssetKey | AssetCheckKey]:
    """Missing or with newer upstreams, once these are there and none of it is under way."""
    return AutomationCondition.eager()


def build_conditions_sensor(settings: Settings) -> AutomationConditionSensorDefinition:
    """Evaluates the conditions; its runs carry our tags."""
    return AutomationConditionSensorDefinition(
        CONDITIONS_SENSOR,
        target=AssetSelection.assets(*(step.asset for step in steps(settings)), REPORT),
        run_tags={
            DATASET: settings.dataset,
            TRIGGER: "conditions",
            RETRIES_TAG: str(settings.automation.infrastructure_retries),
        },
        default_status=(
            DefaultSensorStatus.RUNNING if settings.automation.enabled else DefaultSensorStatus.STOPPED
        ),
    )
