"""Statuses and scores per shard, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from imgpipe.metrics import Metric
from imgpipe.records import Status
from imgpipe.report.histogram import (
    RIGHT,
    STACK,
    WIDTH,
    frame_lines,
    open_chart,
    short_number,
    stacked_bars,
    tick,
)

#: Up to this many shards every point is drawn, with its value as a tooltip.
_MAX_POINTS = 120

_HEIGHT, _LEFT, _TOP, _BASE = 150.0, 40.0, 10.0, 128.0


def shard_table(frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per shard, in the frame's order.

    Columns: ``shard, n``, the four counts, and per metric ``<metric>_p05``, ``<metric>_median`` and
    ``<metric>_p95`` over the finite values (NaN where there are none).
    """
    rows = []
    for shard, part in frame.groupby("shard", sort=False):
        row: dict[str, object] = {"shard": str(shard), "n": len(part)}
        row |= {status.value: int((part["status"] == status.value).sum()) for status in Status}
        for metric in metrics:
            values = part[metric].to_numpy(np.float64)
            values = values[np.isfinite(values)]
            quantiles = np.quantile(values, [0.05, 0.5, 0.95]) if len(values) else [np.nan] * 3
            row |= dict(zip((f"{metric}_p05", f"{metric}_median", f"{metric}_p95"), quantiles, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def status_trend_svg(shards: pd.DataFrame) -> str:
    """Share of every status per shard, as stacked columns."""
    step = (WIDTH - _LEFT - RIGHT) / len(shards)
    parts = [
        open_chart("Share of images by status, per shard", _HEIGHT),
        *frame_lines(_LEFT, _TOP, _BASE, "0 %", "100 %"),
    ]
    for index, row in enumerate(shards.to_dict("records")):
        shares = {status: row[status.value] / row["n"] * (_BASE - _TOP) for status in STACK}
        width = max(step - min(1.0, step * 0.2), 0.3)
        parts += ["<g>", *stacked_bars(_LEFT + index * step, width, _BASE, shares)]
        said = ", ".join(f"{row[status.value]} {status.value}" for status in STACK)
        parts.append(f"<title>{escape(str(row['shard']))}: {escape(said)}</title></g>")
    return "".join(parts + _shard_axis(shards)) + "</svg>"


def metric_trend_svg(shards: pd.DataFrame, metric: Metric, thresholds: Sequence[float]) -> str | None:
    """Median with the band from 5 to 95 per cent, per shard; ``None`` where no shard has the metric."""
    low, middle, high = (
        shards[f"{metric.name}_{name}"].to_numpy(np.float64) for name in ("p05", "median", "p95")
    )
    known = np.isfinite(middle)
    if not known.any():
        return None
    bottom = min([float(np.nanmin(low)), *thresholds])
    top = max([float(np.nanmax(high)), *thresholds])
    if top <= bottom:
        margin = abs(top) * 0.05 or 0.5
        bottom, top = bottom - margin, top + margin

    def y_of(value: float) -> float:
        return _TOP + (top - value) / (top - bottom) * (_BASE - _TOP)

    parts = [
        open_chart(f"{metric.label} per shard: median and range from 5 to 95 per cent", _HEIGHT),
        *frame_lines(
            _LEFT, _TOP, _BASE, short_number(bottom, metric.digits), short_number(top, metric.digits)
        ),
    ]
    xs = _LEFT + (np.arange(len(shards)) + 0.5) * (WIDTH - _LEFT - RIGHT) / len(shards)
    indices = np.flatnonzero(known)
    # One line per run of neighbouring shards that have values.
    for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
        upper = [f"{xs[i]:.1f},{y_of(high[i]):.1f}" for i in run]
        lower = [f"{xs[i]:.1f},{y_of(low[i]):.1f}" for i in reversed(run)]
        parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
        line = " ".join(f"{xs[i]:.1f},{y_of(middle[i]):.1f}" for i in run)
        parts.append(f'<polyline class="median" points="{line}"/>')
    if len(shards) <= _MAX_POINTS:
        for index in indices:
            median = short_number(float(middle[index]), metric.digits + 1)
            said = f"{shards['shard'].iloc[index]}: median {median}"
            parts.append(
                f'<circle class="point" cx="{xs[index]:.1f}" cy="{y_of(middle[index]):.1f}" r="2.5">'
                f"<title>{escape(said)}</title></circle>"
            )
    parts += [
        f'<line class="threshold" x1="{_LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(t):.1f}" y2="{y_of(t):.1f}"/>'
        for t in thresholds
    ]
    return "".join(parts + _shard_axis(shards)) + "</svg>"


def _shard_axis(shards: pd.DataFrame) -> list[str]:
    first, last = shards["shard"].iloc[0], shards["shard"].iloc[-1]
    if len(shards) == 1:
        return [tick((_LEFT + WIDTH - RIGHT) / 2, _BASE + 13, "middle", first)]
    return [tick(_LEFT, _BASE + 13, "start", first), tick(WIDTH - RIGHT, _BASE + 13, "end", last)]
