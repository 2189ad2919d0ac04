"""Distributions as inline SVG: bars stacked by status, thresholds as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from imgpipe.metrics import Metric
from imgpipe.names import counted
from imgpipe.records import Status

#: Bottom to top.
STACK = (Status.OK, Status.REJECTED, Status.ERROR, Status.SKIPPED)
_BINS = 36
#: Share of the values at either end that may be gathered in the outermost bins.
_TAIL = 0.005
#: More thresholds than this (many profiles in one data set) are drawn as their extremes.
_MAX_LINES = 4

WIDTH, RIGHT = 360.0, 8.0
_HEIGHT, _LEFT, _TOP, _BOTTOM = 170.0, 34.0, 20.0, 30.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """``edges``: (bins + 1,); ``counts``: status -> (bins,) integers; ``infinite``: values left out as ∞.

    The first and the last bin also hold what lies outside (``open_low``, ``open_high`` say whether any does).
    """

    edges: npt.NDArray[np.float64]
    counts: Mapping[Status, npt.NDArray[np.int64]]
    open_low: bool
    open_high: bool
    infinite: int

    @property
    def total(self) -> int:
        return int(sum(int(count.sum()) for count in self.counts.values()))


def build_histogram(
    values: npt.NDArray[np.float64], statuses: Sequence[str], thresholds: Sequence[float], bins: int = _BINS
) -> Histogram | None:
    """Count ``values`` (NaN = not measured) by status; ``None`` where there is no finite value.

    The range holds all thresholds and all but half a per cent of the values at each end; the rest is
    counted in the outermost bins, so that one outlier does not flatten the picture.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return None
    known = values[finite]
    low, high = np.quantile(known, [_TAIL, 1 - _TAIL])
    low, high = min([low, *thresholds]), max([high, *thresholds])
    if high - low <= abs(high) * 1e-9:
        margin = abs(high) * 0.05 or 0.5
        low, high = low - margin, high + margin
    edges = np.linspace(low, high, bins + 1)
    place = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, bins - 1)
    names = np.asarray(statuses, dtype=object)[finite]
    counts = {
        status: np.bincount(place[names == status.value], minlength=bins).astype(np.int64) for status in STACK
    }
    return Histogram(
        edges,
        counts,
        bool((known < low).any()),
        bool((known > high).any()),
        int(np.isinf(values).sum()),
    )


def histogram_svg(histogram: Histogram, metric: Metric, thresholds: Sequence[float]) -> str:
    """The picture as an ``<svg>`` element; bars carry their bounds (``data-low``, ``data-high``)."""
    edges = histogram.edges
    tallest = max(1, int(np.sum(list(histogram.counts.values()), axis=0).max()))
    parts = [open_chart(f"Distribution of {metric.label}, {counted(histogram.total, 'image')}", _HEIGHT)]
    parts += frame_lines(_LEFT, _TOP, _HEIGHT - _BOTTOM, "0", str(tallest))
    for index in range(len(edges) - 1):
        parts += _bar(histogram, index, metric, tallest)
    parts += _value_axis(histogram, metric)
    for threshold in drawn_thresholds(thresholds):
        x = _LEFT + (threshold - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - _LEFT - RIGHT)
        anchor = "end" if x > WIDTH * 0.7 else "start"
        shift = -3 if anchor == "end" else 3
        parts.append(
            f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8:.1f}" '
            f'y2="{_HEIGHT - _BOTTOM:.1f}"/>'
            f'<text class="threshold-text" x="{x + shift:.1f}" y="{_TOP - 4:.1f}" text-anchor="{anchor}">'
            f"{escape(short_number(threshold, metric.digits))}</text>"
        )
    return "".join(parts) + "</svg>"


def drawn_thresholds(thresholds: Sequence[float]) -> list[float]:
    """Each once, sorted; only the lowest and the highest where there are many."""
    distinct = sorted({float(value) for value in thresholds if math.isfinite(value)})
    return distinct if len(distinct) <= _MAX_LINES else [distinct[0], distinct[-1]]


def short_number(value: float, digits: int) -> str:
    """``digits`` decimals at most, no trailing zeros: ``30``, ``0.985``."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def open_chart(label: str, height: float) -> str:
    """The opening tag of a chart of the common width."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label, quote=True)}">'
    )


def frame_lines(left: float, top: float, base: float, low: str, high: str) -> list[str]:
    """The axis at ``base`` and a line at ``top`` (px), with the values that they stand for."""
    return [
        f'<line class="axis" x1="{left}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>',
        f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>',
        tick(left - 4, top + 4, "end", high),
        tick(left - 4, base, "end", low),
    ]


def tick(x: float, y: float, anchor: str, text: str) -> str:
    """A value beside an axis."""
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def stacked_bars(x: float, width: float, base: float, heights: Mapping[Status, float]) -> list[str]:
    """One bar for each status, on one another from ``base`` up; px."""
    parts, y = [], base
    for status, height in heights.items():
        y -= height
        size = f'width="{width:.2f}" height="{height:.2f}"'
        parts += [f'<rect class="fill-{status.value}" x="{x:.2f}" y="{y:.2f}" {size}/>'] if height else []
    return parts


def _bar(histogram: Histogram, index: int, metric: Metric, tallest: int) -> list[str]:
    step = (WIDTH - _LEFT - RIGHT) / (len(histogram.edges) - 1)
    x, per_image = _LEFT + index * step, (_HEIGHT - _TOP - _BOTTOM) / tallest
    low, high = float(histogram.edges[index]), float(histogram.edges[index + 1])
    counts = {status: int(count[index]) for status, count in histogram.counts.items()}
    total = sum(counts.values())
    if not total:
        return []
    first, last = index == 0, index == len(histogram.edges) - 2
    bounds = "" if first and histogram.open_low else f' data-low="{low!r}"'
    bounds += "" if last else f' data-high="{high!r}"'
    said = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    parts = [f'<g class="bar" data-metric="{escape(metric.name, quote=True)}"{bounds}>']
    heights = {status: max(count * per_image, 1.5) if count else 0.0 for status, count in counts.items()}
    parts += stacked_bars(x + 0.5, max(step - 1, 0.5), _HEIGHT - _BOTTOM, heights)
    span = f"{short_number(low, metric.digits + 1)} to {short_number(high, metric.digits + 1)}: {said}"
    parts.append(
        f'<rect class="hit" x="{x:.2f}" y="{_TOP:.1f}" width="{step:.2f}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM:.1f}"/>'
        f"<title>{escape(span)}</title></g>"
    )
    return parts


def _value_axis(histogram: Histogram, metric: Metric) -> list[str]:
    edges, marks = histogram.edges, []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        value = float(edges[0] + share * (edges[-1] - edges[0]))
        before = (
            "≤" if share == 0 and histogram.open_low else "≥" if share == 1 and histogram.open_high else ""
        )
        x = _LEFT + share * (WIDTH - _LEFT - RIGHT)
        unit = f" {metric.unit}" if share == 0.5 and metric.unit else ""
        text = f"{before}{short_number(value, metric.digits)}{unit}"
        marks.append(tick(x, _HEIGHT - _BOTTOM + 13, anchor, text))
    return marks
