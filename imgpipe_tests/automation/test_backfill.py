"""The schedule evaluated by Dagster: what it requests, what it leaves to active runs, when it gives up."""

from __future__ import annotations

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    SkipReason,
)

from imgpipe.automation.backfill import build_backfill_schedule
from imgpipe.config import Settings, load_settings
from imgpipe.storage.manifests import plan, seal
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put


@pytest.fixture
def sealed(site: Site) -> Site:
    """Three shards of one image, none of them made."""
    put(site.source, "a.png", "b.png", "c.png")
    site.configure(shard_size=1)
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=1), site.stores.output)
    return site


def requested(site: Site) -> list[RunRequest]:
    found = site.schedule()
    assert isinstance(found, list), found
    return found


def partitions(site: Site) -> list[str]:
    return [str(request.partition_key) for request in requested(site)]


def under_way(instance: DagsterInstance, status: DagsterRunStatus, **tags: str) -> None:
    named = {name.replace("__", "/"): value for name, value in tags.items()}
    instance.add_run(DagsterRun(job_name="shard_job", status=status, tags=named))


def test_one_run_per_partition_with_tags_for_the_queue(sealed: Site, instance: DagsterInstance) -> None:
    requests = requested(sealed)
    assert [request.partition_key for request in requests] == ["art-00002", "art-00001", "art-00000"]
    tags = requests[0].tags
    assert tags["imgpipe/why"] == "missing"
    assert tags["imgpipe/trigger"] == "backfill"
    assert tags["dagster/priority"] == "-2"
    assert tags["imgpipe/infrastructure_retries"] == "3"
    assert all(type(value) is str for value in tags.values())
    assert len({request.run_key for request in requests}) == 3
    assert sorted(instance.get_dynamic_partitions("shards_art")) == ["art-00000", "art-00001", "art-00002"]


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
def test_what_is_under_way_is_not_asked_for_again(
    sealed: Site, instance: DagsterInstance, status: DagsterRunStatus
) -> None:
    under_way(instance, status, dagster__partition="art-00001")
    assert partitions(sealed) == ["art-00002", "art-00000"]


def test_ranges_under_way_count_for_all_their_partitions(sealed: Site, instance: DagsterInstance) -> None:
    under_way(
        instance,
        DagsterRunStatus.STARTED,
        dagster__asset_partition_range_start="art-00000",
        dagster__asset_partition_range_end="art-00001",
    )
    assert partitions(sealed) == ["art-00002"]


def test_finished_runs_and_other_data_sets_do_not_count(sealed: Site, instance: DagsterInstance) -> None:
    under_way(instance, DagsterRunStatus.SUCCESS, dagster__partition="art-00001")
    under_way(instance, DagsterRunStatus.STARTED, dagster__partition="art-00001", imgpipe__dataset="other")
    assert len(partitions(sealed)) == 3


def test_no_more_than_allowed_are_kept_under_way(sealed: Site, instance: DagsterInstance) -> None:
    sealed.configure(**{"automation.max_partitions_per_tick": 2})
    assert partitions(sealed) == ["art-00002", "art-00001"]
    under_way(
        instance,
        DagsterRunStatus.NOT_STARTED,
        dagster__partition="art-00002",
        imgpipe__trigger="backfill",
        imgpipe__dataset="art",
    )
    assert partitions(sealed) == ["art-00001"]


def test_a_partition_whose_runs_fail_again_and_again_is_given_up_until_it_changes(
    sealed: Site, instance: DagsterInstance
) -> None:
    (signature,) = [
        request.tags["imgpipe/signature"]
        for request in requested(sealed)
        if request.partition_key == "art-00001"
    ]
    for attempt in range(3):
        assert "art-00001" in partitions(sealed), attempt
        under_way(
            instance,
            DagsterRunStatus.FAILURE,
            dagster__partition="art-00001",
            imgpipe__signature=signature,
        )
    assert partitions(sealed) == ["art-00002", "art-00000"]
    sealed.configure(**{"upscale.scale": 3})
    assert "art-00001" in partitions(sealed)


def test_the_days_gpu_minutes_are_spent_once(sealed: Site, instance: DagsterInstance) -> None:
    sealed.configure(**{"automation.gpu_minutes_per_day": 10, "upscale.model": "lanczos", "device": "auto"})
    assert len(partitions(sealed)) == 3
    under_way(
        instance,
        DagsterRunStatus.SUCCESS,
        imgpipe__trigger="backfill",
        imgpipe__dataset="art",
        imgpipe__gpu_seconds="600.0",
    )
    sealed.now = instance.get_run_records()[0].create_timestamp
    said = sealed.schedule()
    assert isinstance(said, SkipReason)
    assert "0.0 GPU minutes left today" in str(said.skip_message)
    sealed.later(days=1)
    assert len(partitions(sealed)) == 3


def test_a_complete_data_set_is_skipped(site: Site) -> None:
    put(site.source, "a.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=1), site.stores.output)
    site.materialize_all()
    said = site.schedule()
    assert isinstance(said, SkipReason)
    assert "not complete: 0 of 1 partition, none" in str(said.skip_message)


def test_it_starts_by_itself_only_where_asked() -> None:
    assert build_backfill_schedule(Settings()).default_status is DefaultScheduleStatus.STOPPED
    enabled = load_settings({"automation.enabled": True, "automation.cron": "5 4 * * *"})
    made = build_backfill_schedule(enabled)
    assert (made.default_status, made.cron_schedule) == (DefaultScheduleStatus.RUNNING, "5 4 * * *")
