"""What each mode adds to the code location."""

from __future__ import annotations

import pytest
from dagster import AssetKey, Definitions

from imgpipe.assets.graph import build_definitions
from imgpipe.automation.build import automated
from imgpipe.automation.retry import RETRY_FAILED_JOB
from imgpipe.config import load_settings
from imgpipe.engines.retry import Mode, Retry
from imgpipe.errors import ConfigError

ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports", "dataset_report")


def made(mode: str) -> Definitions:
    settings = load_settings({"automation.mode": mode})
    return automated(build_definitions(settings), settings)


@pytest.mark.parametrize(
    ("mode", "sensors", "schedules", "conditioned"),
    [
        ("schedule", {"arrival_sensor"}, {"backfill_schedule", "report_schedule"}, False),
        ("conditions", {"arrival_sensor", "conditions_sensor"}, set(), True),
        ("off", set(), set(), False),
    ],
)
def test_each_mode_adds_what_it_says(
    mode: str, sensors: set[str], schedules: set[str], conditioned: bool
) -> None:
    definitions = made(mode)
    repository = definitions.get_repository_def()
    always = {"dead_runs_sensor", "retry_failed_sensor"}
    assert {one.name for one in repository.sensor_defs} == sensors | always
    assert {one.name for one in repository.schedule_defs} == schedules
    assert {"shard_job", "report_job", RETRY_FAILED_JOB} <= set(repository.job_names)
    graph = definitions.resolve_asset_graph()
    for name in ASSETS:
        assert (graph.get(AssetKey(name)).automation_condition is not None) is conditioned, name


def test_the_retry_job_asks_for_failed_images_only() -> None:
    job = made("off").resolve_job_def(RETRY_FAILED_JOB)
    assert Retry.from_tags(job.tags) == Retry(Mode.FAILED)
    assert job.partitions_def is not None


def test_impossible_settings_are_refused() -> None:
    for values, said in (
        ({"automation.prefixes": ["a/", "a/b/"]}, "lies below"),
        ({"automation.prefixes": []}, "at least one prefix"),
        ({"automation.prefixes": ["a/"], "automation.source_list": "x.csv"}, "set one of the two"),
        ({"automation.mode": "sometimes"}, "schedule"),
        ({"automation.gpu_minutes_per_day": 0}, "greater than 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_settings(values)
