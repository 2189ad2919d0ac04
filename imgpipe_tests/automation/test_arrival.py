"""The sensor evaluated by Dagster: partitions, run keys, skips, and the runs that follow."""

from __future__ import annotations

import pytest
from dagster import DagsterInstance, DefaultSensorStatus

from imgpipe.automation.arrival import ARRIVAL_SENSOR, build_arrival_sensor
from imgpipe.config import Settings, load_settings
from imgpipe.records import Status
from imgpipe.storage.lease import PLAN, Lease
from imgpipe.storage.manifests import list_shards, read_manifest
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put


def test_arrivals_become_partitions_and_runs(
    site: Site, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site.source, "a.png", "b.png", "c.png", "d.png")
    result = site.sense(monkeypatch)
    assert instance.get_dynamic_partitions("shards_art") == ["art-00000", "art-00001"]
    requests = list(result.run_requests or ())
    assert [request.partition_key for request in requests] == ["art-00000", "art-00001"]
    digest = read_manifest(site.stores.output, "art", "00000").digest
    assert requests[0].run_key == f"art-00000:{digest[:16]}"
    assert requests[0].tags["imgpipe/trigger"] == "arrival"
    assert requests[0].tags["dagster/priority"] == "-1"
    for request in requests:
        assert site.launch(request) is not None
    assert {row.status for row in site.rows().values()} == {Status.OK}


def test_a_tick_without_news_skips_and_says_what_it_saw(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site.source, "a.png")
    site.sense(monkeypatch)
    result = site.sense(monkeypatch)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert "1 image compared: 0 new" in str(result.skip_reason.skip_message)


def test_a_changed_source_runs_its_shard_and_a_deleted_one_is_skipped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site.source, "a.png", "b.png", "c.png", "d.png")
    for request in site.sense(monkeypatch).run_requests or ():
        site.launch(request)
    put(site.source, "a.png", seed=1)
    (site.source / "b.png").unlink()
    (request,) = site.sense(monkeypatch).run_requests or ()
    assert request.partition_key == "art-00000"
    site.launch(request)
    rows = site.rows()
    assert rows["b.png"].status is Status.SKIPPED
    assert (rows["a.png"].status, rows["d.png"].status) == (Status.OK, Status.OK)


def test_partitions_that_a_plan_sealed_are_added(
    site: Site, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgpipe.storage.manifests import plan, seal

    put(site.source, "a.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=3), site.stores.output)
    assert not site.sense(monkeypatch).run_requests
    assert instance.get_dynamic_partitions("shards_art") == ["art-00000"]


def test_a_store_that_is_away_fails_the_tick_and_keeps_the_cursor(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site.source, "a.png")
    site.sense(monkeypatch)
    before = site.cursor
    (site.folder / "source").rename(site.folder / "away")
    with pytest.raises(Exception, match="expected a folder") as caught:
        site.sense(monkeypatch)
    assert "source" in str(caught.value)
    assert site.cursor == before
    (site.folder / "away").rename(site.folder / "source")
    assert not site.sense(monkeypatch).run_requests


def test_it_starts_by_itself_only_where_asked() -> None:
    assert build_arrival_sensor(Settings()).default_status is DefaultSensorStatus.STOPPED
    enabled = load_settings({"automation.enabled": True, "automation.interval_seconds": 7})
    sensor = build_arrival_sensor(enabled)
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (DefaultSensorStatus.RUNNING, 7)
    assert sensor.name == ARRIVAL_SENSOR


def test_it_skips_a_tick_while_another_process_seals(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site.source, "a.png")
    other = Lease(site.stores.output, "art", PLAN)
    other.acquire(None)
    skipped = site.sense(monkeypatch)
    assert not skipped.run_requests
    assert "art plan is held by process" in str(skipped.skip_reason)
    assert list_shards(site.stores.output, "art") == []
    other.release()
    assert len(site.sense(monkeypatch).run_requests or ()) == 1
