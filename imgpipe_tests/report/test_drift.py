from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from imgpipe.report.drift import compare_frames, frame_digest, is_quiet


def _frame(count: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(count)],
            "source_key": [f"set/{n}.png" for n in range(count)],
            "status": ["ok"] * count,
            "stage_hash": ["h"] * count,
            "psnr_y": np.linspace(30, 40, count),
            "ssim_y": 0.99,
        }
    )


def test_equal_reports_are_quiet() -> None:
    drift = compare_frames(_frame(), _frame().iloc[::-1], ["psnr_y", "ssim_y"])
    assert is_quiet(drift)
    assert [change["effect"] for change in drift["metrics"]] == [0.0, 0.0]


def test_added_removed_and_transitions_are_counted_by_image() -> None:
    before, after = _frame(), _frame(23).iloc[2:].copy()
    after.loc[after["image_id"].isin(["i5", "i6", "i21"]), "status"] = "rejected"
    after.loc[after["image_id"] == "i7", "status"] = "error"
    drift = compare_frames(before, after, ["psnr_y"])
    assert drift["images"] == {"added": 3, "removed": 2, "common": 18}
    assert drift["transitions"] == [
        {"from": "ok", "to": "rejected", "count": 2, "sources": ["set/5.png", "set/6.png"]},
        {"from": "ok", "to": "error", "count": 1, "sources": ["set/7.png"]},
    ]
    assert not is_quiet(drift)


def test_metric_changes_are_paired_over_the_images_in_both() -> None:
    before, after = _frame(), _frame()
    after["psnr_y"] += np.where(np.arange(20) == 4, -6.0, 0.5)
    after.loc[0, "psnr_y"] = np.nan
    before.loc[1, "psnr_y"] = np.inf
    (change,) = compare_frames(before, after, ["psnr_y"])["metrics"]
    pairs = (after["psnr_y"] - before["psnr_y"]).iloc[2:]
    assert change["n"] == 18
    assert change["change"] == pytest.approx(pairs.mean())
    assert change["effect"] == pytest.approx(pairs.mean() / pairs.std(ddof=0))
    assert (change["largest"], change["largest_source"]) == (pytest.approx(-6.0), "set/4.png")
    assert change["changed_share"] == 1.0


def test_a_change_that_is_everywhere_the_same_has_no_spread() -> None:
    after = _frame().assign(ssim_y=0.5)
    change = compare_frames(_frame(), after, ["ssim_y"])["metrics"][0]
    assert change["effect"] is None
    json.dumps(change, allow_nan=False)


def test_a_new_score_has_nothing_to_be_compared_with() -> None:
    assert compare_frames(_frame().drop(columns="ssim_y"), _frame(), ["ssim_y"])["metrics"] == []


def test_the_digest_ignores_order_and_sees_statuses_and_scores() -> None:
    digest = frame_digest(_frame(), ["psnr_y"])
    assert frame_digest(_frame().iloc[::-1], ["psnr_y"]) == digest
    assert frame_digest(_frame().assign(status="error"), ["psnr_y"]) != digest
    assert frame_digest(_frame().assign(psnr_y=1.0), ["psnr_y"]) != digest
