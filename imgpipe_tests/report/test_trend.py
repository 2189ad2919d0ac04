from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd

from imgpipe.metrics import METRICS
from imgpipe.report.trend import metric_trend_svg, shard_table, status_trend_svg


def _frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    shards = [f"{i:05d}" for i in range(4) for _ in range(50)]
    frame = pd.DataFrame(
        {"shard": shards, "status": ["ok"] * 180 + ["rejected"] * 20, "psnr_y": rng.normal(35, 2, 200)}
    )
    frame.loc[frame["shard"] == "00002", "psnr_y"] = np.nan
    frame.loc[0, "psnr_y"] = np.inf
    return frame


def test_quantiles_and_counts_per_shard() -> None:
    frame = _frame()
    table = shard_table(frame, ["psnr_y"])
    assert table["shard"].tolist() == ["00000", "00001", "00002", "00003"]
    assert table[["n", "ok", "rejected", "error", "skipped"]].iloc[3].tolist() == [50, 30, 20, 0, 0]
    mine = frame[frame["shard"] == "00001"]["psnr_y"]
    assert table["psnr_y_median"].iloc[1] == mine.median()
    assert table["psnr_y_p05"].iloc[1] == mine.quantile(0.05)
    assert np.isnan(table["psnr_y_median"].iloc[2])
    assert np.isfinite(table["psnr_y_p95"].iloc[0])


def test_a_shard_without_values_interrupts_the_line() -> None:
    svg = metric_trend_svg(shard_table(_frame(), ["psnr_y"]), METRICS["psnr_y"], [30.0])
    assert svg is not None
    root = ET.fromstring(svg)  # noqa: S314
    points = [line.attrib["points"].split() for line in root.findall("polyline")]
    assert [len(each) for each in points] == [2, 1]
    assert len(root.findall("circle")) == 3
    assert len(root.findall("line[@class='threshold']")) == 1


def test_no_values_make_no_picture() -> None:
    frame = _frame().assign(psnr_y=np.nan)
    assert metric_trend_svg(shard_table(frame, ["psnr_y"]), METRICS["psnr_y"], []) is None


def test_status_columns_fill_the_height() -> None:
    root = ET.fromstring(status_trend_svg(shard_table(_frame(), [])))  # noqa: S314
    for group in root.findall("g"):
        bars = [(float(rect.attrib["y"]), float(rect.attrib["height"])) for rect in group.findall("rect")]
        assert abs(sum(height for _, height in bars) - 118) < 0.1
        base = 128.0
        for top, height in bars:  # on one another
            assert abs(top + height - base) < 0.02
            base = top
