"""The defect bench through Dagster: upscaled pictures are damaged in the store, and the checks name them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckSeverity, AssetKey, DagsterInstance, ExecuteInProcessResult

from imgpipe.assets.graph import SHARD_JOB, build_definitions
from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import run_shard
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.metrics import CHECKS
from imgpipe.partitions import shard_partitions
from imgpipe.records import ImageRow, TileGrid
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY, UPSCALED
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.tables import read_meta, read_table, rows_digest, write_table
from imgpipe_tests.quality.defects import plant
from imgpipe_tests.quality.drawings import area, draw

SHARD = "00000"
#: Where an upscaler with tiles would have cut the sources of 256x192 px.
GRID = TileGrid((85, 170), (96,), 4.0)
#: Picture -> the defect planted into its upscaled result, and the Dagster check that must name it.
PLANTED = {
    "a.png": ("seam", "no_lines"),
    "b.png": ("black_tile", "ssim"),
    "c.png": ("colour_shift", "colors_kept"),
    "d.png": ("shift", "detail_kept"),
    "e.png": ("duplicated_tile", "ssim"),
}
CLEAN = ("f.png", "g.png")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A source of seven drawings, upscaled by Lanczos and recorded, but not scored yet."""
    source = tmp_path / "source"
    source.mkdir()
    for seed, name in enumerate([*PLANTED, *CLEAN]):
        (source / name).write_bytes(encode(Image(area(draw(seed)))))
    settings = load_settings(
        {
            "source": str(source),
            "output": str(tmp_path / "output"),
            "dataset": "art",
            "actions": ["upscale"],
            "upscale.model": "lanczos",
            "isolation.mode": "none",
        }
    )
    stores = open_stores(settings)
    seal(plan(stores.source, stores.output, dataset="art", shard_size=10), stores.output)
    for step in steps(settings)[:-1]:
        run_shard(step, build_stage(step, settings), settings, stores, SHARD)
    rewrite_upscaled(stores, {}, settings)
    return settings


def rewrite_upscaled(stores: Stores, damage: dict[str, str], settings: Settings) -> None:
    """Plant ``damage`` (source key -> defect) into the stored results; the table tells what lies there."""
    rows, _ = read_table(stores.output, UPSCALED, "art", SHARD)
    meta = read_meta(stores.output, UPSCALED, "art", SHARD)
    assert meta is not None
    changed = [_rewritten(row, damage.get(row.source_key), stores, settings) for row in rows]
    write_table(
        stores.output, UPSCALED, "art", SHARD, changed, meta={**meta, "rows_digest": rows_digest(changed)}
    )


def _rewritten(row: ImageRow, defect: str | None, stores: Stores, settings: Settings) -> ImageRow:
    row = replace(row, details={**row.details, "tile_grid": GRID.as_dict()})
    if defect is None:
        return row
    picture = decode(stores.output.read(row.output_key), name=row.output_key, limits=settings.limits)
    damaged = plant(defect, np.asarray(picture.pixels, np.uint8), grid=GRID, seed=1)
    assert damaged is not None
    data = encode(replace(picture, pixels=damaged))
    stores.output.write(row.output_key, data, overwrite=True)
    return replace(row, output_sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def score_through_dagster(settings: Settings) -> ExecuteInProcessResult:
    """``quality_reports`` of the shard with its asset checks, as the UI's Materialize runs them."""
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(shard_partitions(settings).name), [f"art-{SHARD}"])
        job = build_definitions(settings).resolve_job_def(SHARD_JOB)
        return job.execute_in_process(
            instance=instance, partition_key=f"art-{SHARD}", asset_selection=[AssetKey(QUALITY)]
        )


def checks_of(result: ExecuteInProcessResult) -> dict[str, Any]:
    return {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key == AssetKey(QUALITY)
    }


def failing_images(check: Any) -> set[str]:
    table = check.metadata.get("failing_images")
    return set() if table is None else {str(record.data["image"]) for record in table.value.records}


def test_a_clean_shard_passes_every_check(settings: Settings) -> None:
    checks = checks_of(score_through_dagster(settings))
    assert set(checks) >= {*CHECKS, "rows_conserved", "no_errors", "models_as_configured"}
    assert {name for name, check in checks.items() if not check.passed} == set()
    assert all(check.partition == f"art-{SHARD}" for check in checks.values())


def test_planted_defects_fail_the_right_checks_with_the_right_images(settings: Settings) -> None:
    stores = open_stores(settings)
    rewrite_upscaled(stores, {name: defect for name, (defect, _) in PLANTED.items()}, settings)
    checks = checks_of(score_through_dagster(settings))
    rows = {row.source_key: row for row in read_table(stores.output, QUALITY, "art", SHARD)[0]}
    for name, (defect, check) in PLANTED.items():
        assert not checks[check].passed, (defect, check)
        assert checks[check].severity is AssetCheckSeverity.ERROR
        assert name in failing_images(checks[check]), (defect, check)
        assert rows[name].status.value == "rejected", rows[name].reasons
    named = set().union(*(failing_images(checks[name]) for name in CHECKS))
    assert named == set(PLANTED)
    assert [rows[name].status.value for name in CLEAN] == ["ok", "ok"]
    assert failing_images(checks["colors_kept"]) >= {"c.png"}
    assert "a.png" not in failing_images(checks["colors_kept"])
    assert checks["rows_conserved"].passed
    assert checks["no_errors"].passed
    assert checks["psnr"].metadata["images_measured"].value == len(PLANTED) + len(CLEAN)


def test_a_check_set_to_warn_names_the_image_and_lets_it_pass(settings: Settings) -> None:
    stores = open_stores(settings)
    rewrite_upscaled(stores, {"a.png": "seam"}, settings)
    lenient = settings.model_copy(
        update={"quality": settings.quality.model_copy(update={"severity": {"lines_coherence_max": "warn"}})}
    )
    checks = checks_of(score_through_dagster(lenient))
    rows = {row.source_key: row for row in read_table(stores.output, QUALITY, "art", SHARD)[0]}
    assert rows["a.png"].status.value == "ok"
    assert rows["a.png"].reasons[0].startswith("warning: a straight line")
    assert not checks["no_lines"].passed
    assert checks["no_lines"].severity is AssetCheckSeverity.WARN
    assert failing_images(checks["no_lines"]) == {"a.png"}
