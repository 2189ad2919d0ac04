"""The metric table: what is measured, what is allowed, and how both are called.

Scoring, settings, checks, report and documentation read it. A new metric is one :class:`Metric` in
``table.py`` and one function in :data:`imgpipe.quality.comparison.MEASURES` that computes it;
``python scripts/write_docs.py`` then brings docs/quality.md and quality.schema.json up to date.
"""

from __future__ import annotations

from dataclasses import replace

from imgpipe.metrics.metric import Limit, Metric, Severity
from imgpipe.metrics.table import CHECKS, ROWS

__all__ = [
    "CHECKS",
    "LIMITS",
    "METRICS",
    "PROFILES",
    "Limit",
    "Metric",
    "Severity",
    "add_metric",
    "limits_by_check",
]

#: Built-in sets of thresholds: for Lanczos and bicubic, and for networks.
PROFILES = ("classical", "realesrgan")
#: By name, in the order of tables and documents.
METRICS: dict[str, Metric] = {}
#: Every threshold by name, in the order of its metrics.
LIMITS: dict[str, Limit] = {}


def add_metric(metric: Metric) -> None:
    """Append a metric with its limits; ValueError where a name is taken or a check is unknown."""
    names = [metric.name, *(limit.name for limit in metric.limits)]
    taken = [name for name in names if name in METRICS or name in LIMITS]
    unknown = [limit.check for limit in metric.limits if limit.check not in CHECKS]
    if taken or unknown:
        raise ValueError(
            f"metric {metric.name}: expected new names and checks among {', '.join(CHECKS)}, got "
            f"{', '.join(taken + unknown)}"
        )
    METRICS[metric.name] = metric
    LIMITS.update({limit.name: replace(limit, metric=metric.name) for limit in metric.limits})


def limits_by_check() -> dict[str, tuple[str, ...]]:
    """Check, as Dagster shows it -> names of the limits that belong to it."""
    return {check: tuple(name for name, one in LIMITS.items() if one.check == check) for check in CHECKS}


for _row in ROWS:
    add_metric(_row)
