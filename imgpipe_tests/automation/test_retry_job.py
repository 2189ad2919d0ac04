"""The retry job, and a store that recovers, with the real assets."""

from __future__ import annotations

import pytest

from imgpipe.errors import StoreUnavailable
from imgpipe.partitions import add_partitions
from imgpipe.resources import retries
from imgpipe.resources.retries import RETRIES_TAG
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import plan, seal
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put


@pytest.fixture
def sealed(site: Site) -> Site:
    put(site.source, "a.png", "b.png")
    (site.source / "bad.png").write_bytes(b"no image")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=3), site.stores.output)
    add_partitions(site.settings, site.instance, ["00000"])
    return site


def test_the_retry_job_tries_failed_images_only(sealed: Site) -> None:
    sealed.run("shard_job", "art-00000")
    before = sealed.rows("raw_images")
    sealed.configure(**{"upscale.scale": 3})
    sealed.run("retry_failed_job", "art-00000")
    after = sealed.rows("raw_images")
    assert (before["bad.png"].attempts, after["bad.png"].attempts) == (1, 2)
    assert sealed.rows("upscaled_images")["a.png"].width == 48  # Outdated, and out of scope for this job.
    sealed.run("shard_job", "art-00000")
    assert sealed.rows("upscaled_images")["a.png"].width == 72
    assert sealed.rows("raw_images")["bad.png"].attempts == 2


def test_the_sensor_requests_what_has_failed_images_once_for_each_state(sealed: Site) -> None:
    put(sealed.source, "z.png")
    stores = sealed.stores
    seal(plan(stores.source, stores.output, dataset="art", shard_size=3), stores.output)
    assert sealed.sense_retries() == []
    sealed.materialize_all()
    (request,) = sealed.sense_retries()
    assert request.partition_key == "art-00000"
    assert request.tags["imgpipe/trigger"] == "retry"
    done = sealed.run("retry_failed_job", str(request.partition_key), request.tags)
    assert done.dagster_run.tags["imgpipe/retry"] == "failed"
    assert [again.run_key for again in sealed.sense_retries()] == [request.run_key]
    sealed.configure(**{"upscale.scale": 3})
    assert [again.run_key for again in sealed.sense_retries()] != [request.run_key]
    put(sealed.source, "bad.png")
    seal(plan(stores.source, stores.output, dataset="art", shard_size=3), stores.output)
    sealed.materialize_all()
    assert sealed.sense_retries() == []


def test_a_store_that_comes_back_costs_a_retry(sealed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    original, failures = LocalStore.write, 2

    def write(self: LocalStore, key: str, data: bytes, *, overwrite: bool = False) -> None:
        nonlocal failures
        if key.startswith("upscaled/") and failures:
            failures -= 1
            raise StoreUnavailable("away")
        original(self, key, data, overwrite=overwrite)

    monkeypatch.setattr(LocalStore, "write", write)
    result = sealed.run("shard_job", "art-00000", {RETRIES_TAG: "3"})
    assert result.success
    assert failures == 0
    assert result.retry_attempts_for_node("upscaled_images") >= 1
