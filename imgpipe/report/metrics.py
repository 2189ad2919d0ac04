"""Scores and checks as the report shows them; rows may come from a version with other metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from imgpipe.metrics import LIMITS, METRICS, Metric

SECONDS_TOTAL = Metric(
    "seconds_total",
    "Time, all stages",
    "Read, decode, compute, encode and write",
    better="lower",
    sees="",
    blind_to="",
    unit="s",
    high=None,
    digits=2,
)


def metric_of(check: str) -> str:
    """The score that a check limits; a check that the table does not have counts as a score of its own."""
    return LIMITS[check].metric if check in LIMITS else check


def is_upper_bound(check: str) -> bool:
    """True where the check's threshold must not be exceeded, False where it must be reached."""
    return check in LIMITS and LIMITS[check].direction == "max"


def describe(metric: str) -> Metric:
    """The table's row, or for a score that it does not have a row that shows the name itself."""
    if metric == SECONDS_TOTAL.name:
        return SECONDS_TOTAL
    unknown = Metric(metric, metric.replace("_", " "), "", better="none", sees="", blind_to="")
    return METRICS.get(metric, unknown)


def shown(metric: Metric) -> dict[str, Any]:
    """What a page's script is told of a score; ``better``: 1 where more is, -1 where less is, else 0."""
    return {
        "name": metric.name,
        "label": metric.label,
        "unit": metric.unit,
        "digits": metric.digits,
        "better": metric.sign,
        "meaning": metric.meaning,
    }


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Known scores in the order of the report's columns, then the others by name."""
    rank = {name: (METRICS[name].column, place) for place, name in enumerate(METRICS)}
    return sorted(set(names), key=lambda name: (rank.get(name, (math.inf, 0)), name))
