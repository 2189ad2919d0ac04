from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from imgpipe.records import Status
from imgpipe.report.histogram import build_histogram, drawn_thresholds, histogram_svg, short_number
from imgpipe.report.metrics import describe


def test_counts_equal_numpys_inside_the_range() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 1000)
    histogram = build_histogram(values, ["ok"] * 1000, [0.0, 1.0], bins=20)
    assert histogram is not None
    expected, edges = np.histogram(values, 20, (0.0, 1.0))
    assert np.array_equal(histogram.counts[Status.OK], expected)
    assert np.allclose(histogram.edges, edges)


def test_nothing_is_lost_outliers_and_statuses_included() -> None:
    values = np.concatenate([np.random.default_rng(1).normal(30, 1, 997), [-500.0, 900.0, np.nan, np.inf]])
    statuses = ["ok", "rejected", "error", "skipped"] * 250 + ["ok"]
    histogram = build_histogram(values, statuses, [28.0])
    assert histogram is not None
    assert (histogram.total, histogram.infinite) == (999, 1)
    assert histogram.open_low
    assert histogram.open_high
    assert histogram.edges[0] > 20
    assert histogram.edges[-1] < 40
    finite = np.isfinite(values)
    for status in Status:
        wanted = sum(name == status.value for name, keep in zip(statuses, finite, strict=True) if keep)
        assert histogram.counts[status].sum() == wanted


def test_the_range_holds_the_thresholds() -> None:
    histogram = build_histogram(np.full(10, 40.0), ["ok"] * 10, [30.0])
    assert histogram is not None
    assert histogram.edges[0] == 30.0
    assert histogram.edges[-1] >= 40.0


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_nothing_measured_makes_no_histogram(values: list[float]) -> None:
    assert build_histogram(np.array(values, float), ["ok"] * len(values), []) is None


def test_equal_values_make_one_bar() -> None:
    histogram = build_histogram(np.full(5, 1.0), ["ok"] * 5, [])
    assert histogram is not None
    assert sorted(histogram.counts[Status.OK])[-2:] == [0, 5]


def test_the_svg_is_well_formed_with_a_line_per_threshold_and_escaped_names() -> None:
    histogram = build_histogram(np.linspace(25, 40, 100), ["ok"] * 60 + ["rejected"] * 40, [30.0])
    assert histogram is not None
    metric = replace(describe('x"<y'), label="<b>PSNR</b> & co", unit="dB", digits=2)
    svg = histogram_svg(histogram, metric, [30.0])
    root = ET.fromstring(svg)  # noqa: S314
    assert root.attrib["aria-label"] == "Distribution of <b>PSNR</b> & co, 100 images"
    assert len(root.findall("line[@class='threshold']")) == 1
    bars = root.findall("g[@class='bar']")
    assert (
        sum(int(n) for bar in bars for n in re.findall(r"(\d+) (?:ok|rejected)", bar[-1].text or "")) == 100
    )
    assert bars[0].attrib["data-metric"] == 'x"<y'


def test_bars_bounds_are_the_bins_own_and_open_at_the_ends() -> None:
    values = np.concatenate([np.linspace(0, 1, 500), [-9.0, 9.0]])
    histogram = build_histogram(values, ["ok"] * 502, [])
    assert histogram is not None
    svg = histogram_svg(histogram, describe("m"), [])
    bars = ET.fromstring(svg).findall("g[@class='bar']")  # noqa: S314
    assert "data-low" not in bars[0].attrib
    assert "data-high" not in bars[-1].attrib
    inner = bars[5].attrib
    within = (values >= float(inner["data-low"])) & (values < float(inner["data-high"]))
    assert f"{within.sum()} ok" in (bars[5][-1].text or "")


def test_many_thresholds_are_drawn_as_their_extremes() -> None:
    assert drawn_thresholds([3, 1, 1, 2]) == [1, 2, 3]
    assert drawn_thresholds([5, 4, 3, 2, 1]) == [1, 5]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(30.0, 2, "30"), (0.985, 4, "0.985"), (100.0, 0, "100"), (float("inf"), 1, "∞")],
)
def test_short_numbers(value: float, digits: int, text: str) -> None:
    assert short_number(value, digits) == text
