from __future__ import annotations

import math
from dataclasses import replace

import pytest

from imgpipe.errors import ConfigError
from imgpipe.records import ImageRow, ModelUse, Status
from imgpipe.report.frame import ShardRows, build_checks_frame, build_frame, check_margin, collect_lines
from imgpipe_tests.report.datasets import ASSETS, DatasetBuilder, scored


def test_one_line_per_image_with_the_verdicts_fields(builder: DatasetBuilder) -> None:
    frame = build_frame(collect_lines(builder.shards()))
    assert len(frame) == 11 == frame["image_id"].nunique()
    assert dict(frame["status"].value_counts()) == {"ok": 8, "rejected": 1, "error": 1, "skipped": 1}
    shifted = frame[frame["source_key"] == "set/shifted.png"].iloc[0]
    assert shifted["failed_checks"] == "psnr_y_min_db,color_shift_255_max"
    assert shifted["psnr_y"] == 27.5
    assert (shifted["source_width"], shifted["upscaled_images_width"]) == (96, 384)
    assert shifted["upscaled_images_model"] == "lanczos"
    assert shifted["shard"] == "00001"
    error = frame[frame["status"] == "error"].iloc[0]
    assert error["error_class"] == "UnsupportedFormat"
    assert math.isnan(error["psnr_y"])


def test_seconds_count_the_engines_steps_once(builder: DatasetBuilder) -> None:
    frame = build_frame(collect_lines(builder.shards()))
    # Three stages of 0.11 s and the score's 0.33 s; its inner 0.2 s for SSIM is part of `compute`.
    assert frame["seconds_total"].iloc[0] == pytest.approx(3 * 0.11 + 0.33)


def test_an_image_without_a_last_row_is_an_error_not_a_gap(builder: DatasetBuilder) -> None:
    tables = {asset: list(rows) for asset, rows in builder.tables["00000"].items()}
    lost = tables[ASSETS[-1]].pop(1)
    frame = build_frame(collect_lines([ShardRows("00000", tables)]))
    assert len(frame) == 3
    row = frame[frame["image_id"] == lost.image_id].iloc[0]
    assert (row["status"], row["error_class"], row["stage_failed"]) == ("error", "RowMissing", ASSETS[-1])
    assert math.isnan(row["psnr_y"])


def test_a_shard_without_tables_is_refused() -> None:
    with pytest.raises(ConfigError, match="shard 00004"):
        collect_lines([ShardRows("00004", {})])


def test_no_rows_make_a_frame_with_the_fixed_columns() -> None:
    frame = build_frame(collect_lines([ShardRows("00000", {asset: [] for asset in ASSETS})]))
    assert len(frame) == 0
    assert {"image_id", "status", "reasons", "checks", "seconds_total", "source_width"} <= set(frame.columns)


def test_values_of_checks_complete_the_scores_and_unmeasured_ones_stay_out() -> None:
    row = ImageRow("a.png", "a-1", "e", Status.OK)
    final = scored(row, {"psnr_y": 40.0, "matte_components": 2.0})
    checks = [*final.details["checks"], {**final.details["checks"][0], "name": "new_score_max", "value": 0.5}]
    final = replace(final, details={"checks": checks})
    lines = collect_lines([ShardRows("00000", {"raw_images": [row], "quality_reports": [final]})])
    assert build_frame(lines)["new_score_max"].tolist() == [0.5]
    assert sorted(build_checks_frame(lines)["name"]) == ["components_max", "new_score_max", "psnr_y_min_db"]


@pytest.mark.parametrize(
    ("check", "value", "threshold", "margin"),
    [
        ("psnr_y_min_db", 27.0, 30.0, -3.0),
        ("color_shift_255_max", 3.0, 2.0, -1.0),
        ("ssim_y_min", 1, 0.75, 0.25),
    ],
)
def test_margin_is_negative_on_the_wrong_side(
    check: str, value: float, threshold: float, margin: float
) -> None:
    assert check_margin(check, value, threshold) == pytest.approx(margin)


def test_a_fallback_is_said_once_although_stage_and_verdict_both_tell(builder: DatasetBuilder) -> None:
    tables = {asset: list(rows) for asset, rows in builder.tables["00000"].items()}
    model = ModelUse("lanczos", "numpy", fallback_reason="no weights")
    tables["upscaled_images"][0] = replace(tables["upscaled_images"][0], model=model)
    details = {**tables[ASSETS[-1]][0].details, "fallbacks": ["upscaled_images: no weights"]}
    tables[ASSETS[-1]][0] = replace(tables[ASSETS[-1]][0], model=model, details=details)
    frame = build_frame(collect_lines([ShardRows("00000", tables)]))
    assert frame["fallbacks"].tolist() == ["upscaled_images: no weights", "", ""]


def test_lone_surrogates_in_names_can_be_stored() -> None:
    row = ImageRow("odd\udc80.png", "odd-1", "e", Status.ERROR, error_message="odd\udc80.png: no image")
    frame = build_frame(collect_lines([ShardRows("00000", {"raw_images": [row], "quality_reports": [row]})]))
    assert frame["source_key"].iloc[0] == "odd\\udc80.png"
    frame["error_message"].str.encode("utf-8")
