"""One shard through Dagster on S3: whose client is used, what the UI gets to show, where links lead."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckSeverity, AssetKey, DagsterInstance, Definitions, ExecuteInProcessResult

import imgpipe
from imgpipe import webserver
from imgpipe.assets.graph import REPORT_JOB, SHARD_JOB, build_definitions
from imgpipe.assets.report import build_report_asset
from imgpipe.config import Settings, load_settings
from imgpipe.partitions import add_partitions, shard_partitions
from imgpipe.resources.stores import SharedS3
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_stores
from imgpipe_tests.assets.test_gallery import pictures
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.review.space import Space

LINK = re.compile(r"\]\(<([^>]+)>\)")
SERVED = "/imgpipe/dataset_report/"


def execute(settings: Settings) -> tuple[ExecuteInProcessResult, ExecuteInProcessResult]:
    """The shard's job and the report's job, on an instance of their own."""
    definitions = build_definitions(settings)
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(shard_partitions(settings).name), ["art-00000"])
        shard = definitions.resolve_job_def(SHARD_JOB).execute_in_process(
            instance=instance, partition_key="art-00000"
        )
        report = definitions.resolve_job_def(REPORT_JOB).execute_in_process(instance=instance)
    return shard, report


def metadata(result: ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Label -> value of an asset's materialization."""
    found: dict[str, Any] = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key is not None and event.asset_key.to_user_string() == asset:
            found |= {name: entry.value for name, entry in event.materialization.metadata.items()}
    return found


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every client that the resource gives from here on."""
    made: list[Any] = []
    original = SharedS3.get_client

    def counting(self: SharedS3) -> Any:
        made.append(original(self))
        return made[-1]

    monkeypatch.setattr(SharedS3, "get_client", counting)
    return made


def test_a_run_on_s3(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = Space(f"{s3_url}/raw", f"{s3_url}/results")
    for number in range(2):
        path = write_drawing(tmp_path, f"{number}.png", seed=number)
        space.stores.source.write(path.name, path.read_bytes())
    settings = space.settings(
        **{
            "quality.thresholds": {"psnr_y_min_db": 90},
            "cost.price_per_hour": 3.6,
            "cost.currency": "EUR",
        }
    )
    stores = space.stores
    seal(plan(stores.source, stores.output, dataset="art", shard_size=2), stores.output)
    shard, report = execute(settings)
    assert len({id(client) for client in clients}) == 1  # One, shared by both stores, all steps and runs.
    assert clients[0].meta.endpoint_url == settings.s3.endpoint_url

    upscaled = metadata(shard, "upscaled_images")
    assert upscaled["images_per_second"] > 0
    assert upscaled["compute_seconds_per_image"] > 0
    seconds = upscaled["wall_seconds"] / 2
    assert upscaled["cost_per_1000_images"] == pytest.approx(seconds * 1000 / 3600 * 3.6, rel=0.01, abs=1e-3)
    assert upscaled["currency"] == "EUR"
    assert "gpu_seconds_per_image" not in upscaled
    assert upscaled["table"] == f"{s3_url}/results/tables/upscaled_images/art/00000.parquet"

    quality = metadata(shard, "quality_reports")
    assert (quality["rejected"], quality["rejected_share"], quality["accepted_in_review"]) == (2, 1.0, 0)
    assert quality["psnr_min"] <= quality["psnr_median"]
    assert quality["ssim_min"] <= quality["ssim_median"] <= 1
    assert len(pictures(quality["worst_pictures"])) == 6
    assert {one.data["image"] for one in quality["not_ok"].records} == set(space.rows())

    checks = {one.check_name: one for one in shard.get_asset_check_evaluations() if "psnr" in one.check_name}
    psnr = checks["psnr"]
    assert (psnr.passed, psnr.severity, psnr.partition) == (False, AssetCheckSeverity.ERROR, "art-00000")
    shown = str(psnr.metadata["failing_pictures"].value)
    assert len(pictures(shown)) == 6
    assert psnr.metadata["images_failed"].value == 2
    page = str(psnr.metadata["report"].value)
    assert page == f"{SERVED}reports/art/index.html"

    overview = metadata(report, "dataset_report")
    assert overview["report"] == page
    assert "data:image/svg+xml;base64," in overview["overview"]
    links = LINK.findall(shown)
    assert len(links) == 2 * 5  # Source, cutout, enlargement, quality.json and diff.png of two images.
    (facts,) = build_report_asset(settings).metadata_by_key.values()
    for link in (*links, page):
        key = urllib.parse.unquote(urllib.parse.urlsplit(link).path).removeprefix(SERVED)
        if link.startswith(SERVED):
            assert webserver.answer(facts, key).body, link
        else:
            bucket, _, key = key.lstrip("/").partition("/")
            assert clients[0].head_object(Bucket=bucket, Key=key)["ContentLength"] > 0, link
    assert sum(link.startswith(SERVED) for link in links) == 2 * 4

    waiting = metadata(report, "review_queue")
    assert (waiting["waiting"], waiting["pending"], waiting["decided"]) == (2, 0, 0)
    assert waiting["stopped_at"] == {"quality_reports": 2}
    assert len(pictures(waiting["pictures"])) == 6
    assert waiting["list"] == f"{s3_url}/results/reports/art/review_queue.json"


def test_two_data_sets_in_one_code_location_do_not_meet(tmp_path: Path) -> None:
    """Their stores differ too: each has a resource of its own."""
    merged, instance = [], DagsterInstance.ephemeral()
    for name in ("art", "comics"):
        place = tmp_path / name
        write_drawing(place / "in", "0.png", seed=1)
        settings = load_settings(
            {
                "source": str(place / "in"),
                "output": str(place / "out"),
                "dataset": name,
                "actions": ["upscale"],
                "upscale.model": "lanczos",
                "s3.region": f"{name}-1",
            }
        )
        stores = open_stores(settings)
        seal(plan(stores.source, stores.output, dataset=name, shard_size=1), stores.output)
        add_partitions(settings, instance, ["00000"])
        merged.append(imgpipe.dataset_definitions(settings, key_prefix=name))
    definitions = Definitions.merge(*merged)
    for name in ("art", "comics"):
        job = definitions.resolve_job_def(f"{name}_{SHARD_JOB}")
        done = job.execute_in_process(instance=instance, partition_key=f"{name}-00000")
        made = {event.asset_key for event in done.get_asset_materialization_events()}
        wanted = ("raw_images", "upscaled_images", "quality_reports")
        assert made == {AssetKey([name, asset]) for asset in wanted}
        assert all(one.asset_key.path[0] == name for one in done.get_asset_check_evaluations())
        assert len(list((tmp_path / name / "out" / "upscaled").rglob("*.png"))) == 1
    pictured = metadata(done, "comics/quality_reports")
    assert pictured["ok"] == 1
