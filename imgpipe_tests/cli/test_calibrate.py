"""``imgpipe calibrate`` on the tables of a store, and its profile used again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgpipe.cli.common import out
from imgpipe.config import load_settings
from imgpipe.quality.profiles import check_all, choose_profile, thresholds_for
from imgpipe.records import ImageRow, Status
from imgpipe.settings import QualitySettings, S3Settings
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_store
from imgpipe.storage.tables import read_table, write_table
from imgpipe_tests.cli.kept_output import assert_as_kept, screen
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.storage.manifests import read_manifests

IMAGES = 60


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Two shards of scored images whose luma PSNR lies around 35 dB; one of them failed."""
    (tmp_path / "source").mkdir()
    for number in range(IMAGES):
        (tmp_path / "source" / f"{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    source = open_store(str(tmp_path / "source"), S3Settings())
    store = open_store(str(tmp_path / "output"), S3Settings(), create=True)
    seal(plan(source, store, dataset="art", shard_size=IMAGES // 2), store)
    rng = np.random.default_rng(0)
    thresholds = thresholds_for("realesrgan", QualitySettings())
    for manifest in read_manifests(store, "art"):
        rows = []
        for entry in manifest.entries:
            metrics = {"psnr_y": float(rng.normal(35, 1)), "color_shift_255": float(rng.gamma(3, 0.02))}
            checks = [
                {"name": one.name, "threshold": one.threshold, "value": one.value, "passed": one.passed}
                for one in check_all(metrics, thresholds)
            ]
            details = {"checks": checks, "profile": "realesrgan"}
            rows.append(
                ImageRow(
                    entry.source_key, entry.image_id, entry.etag, Status.OK, metrics=metrics, details=details
                )
            )
        rows[0] = ImageRow(rows[0].source_key, rows[0].image_id, rows[0].etag, Status.ERROR)
        write_table(store, QUALITY, "art", manifest.shard, rows, meta={})
    return tmp_path / "output"


@pytest.mark.parametrize("terminal", [False, True])
def test_its_table_at_80_columns(output: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "_force_terminal", terminal)
    _, said = imgpipe("calibrate", "--output", output, columns=80)
    assert_as_kept("calibrate", screen(said), {})


def calibrate(*arguments: object) -> tuple[int, str]:
    return imgpipe("calibrate", *arguments, columns=160)


def test_it_prints_proposals_and_writes_a_profile_that_settings_take(output: Path, tmp_path: Path) -> None:
    profile = tmp_path / "soft.yaml"
    code, said = calibrate(
        "--output",
        output,
        "--reject-rate",
        0.02,
        "--profile-name",
        "soft",
        "--write",
        profile,
    )
    assert code == 0
    assert "58 images, from profile realesrgan, target 2.00% rejected" in said
    assert "psnr_y ≥" in said
    assert "rejected now: 0 of 58" in said
    by_path = load_settings({"quality.profile": str(profile)}).quality
    by_config = load_settings({}, config=profile).quality
    assert by_path == by_config
    assert (by_path.profile, by_path.profile_name) == ("realesrgan", "soft")
    thresholds = thresholds_for(choose_profile(by_path, None), by_path)
    assert 28 < thresholds["psnr_y_min_db"].value < 34
    assert thresholds["worst_window_min"].value == 0.75


def test_it_says_what_is_missing(output: Path, tmp_path: Path) -> None:
    code, said = calibrate("--output", output, "--dataset", "other")
    assert (code, "no scored images" in said) == (2, True)
    empty = tmp_path / "empty"
    empty.mkdir()
    code, said = calibrate("--output", empty)
    assert (code, "--dataset" in said) == (2, True)
    code, said = calibrate("--output", output, "--reject-rate", 2)
    assert (code, "between 0 and 1" in said) == (2, True)
    code, said = calibrate("--output", output, "--write", tmp_path / "no" / "where.yaml")
    assert (code, "can be written" in said) == (2, True)


def test_severities_in_force_go_into_the_profile(output: Path, tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    code, _ = calibrate("--output", output, "--write", profile, "--set", "quality.severity={psnr: warn}")
    assert code == 0
    assert dict(load_settings({"quality.profile": str(profile)}).quality.severity) == {
        "psnr_y_min_db": "warn"
    }


def test_it_says_where_the_target_is_not_kept(output: Path) -> None:
    """Every subject of these images is larger than allowed, and that threshold is a definition."""
    store = open_store(str(output), S3Settings())
    for shard in ("00000", "00001"):
        rows = read_table(store, QUALITY, "art", shard)[0]
        wide = [replace(row, metrics={**row.metrics, "matte_foreground": 0.99}) for row in rows]
        write_table(store, QUALITY, "art", shard, wide, meta={})
    code, said = calibrate("--output", output)
    assert code == 0
    assert "the target is not kept: 100.00% rejected, 1.00% wanted: foreground_max 58" in said
