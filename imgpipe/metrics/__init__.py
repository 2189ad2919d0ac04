"""The metric table: what is measured, what is allowed, and how both are called.

Scoring, settings, checks, report and documentation read it. A new metric is one :class:`Metric` in
``table.py`` and one function in :data:`imgpipe.quality.comparison.MEASURES` that computes it;
``python scripts/write_docs.py`` then brings docs/quality.md and quality.schema.json up to date.
"""

from __future__ import annotations

from dataclasses import replace

from imgpipe.metrics.metric import Limit, Metric, Severity
from imgpipe.metrics.table import CHECKS, ROWS

__all__ = ["CHECKS", "LIMITS", "METRICS", "PROFILES", "Limit", "Metric", "Severity", "limits_by_check"]

#: Built-in sets of thresholds: for Lanczos and bicubic, for the package's own networks, and for others.
PROFILES = ("classical", "lite", "network", "realesrgan")
#: By name, in the order of tables and documents.
METRICS: dict[str, Metric] = {metric.name: metric for metric in ROWS}
#: Every threshold by name, in the order of its metrics.
LIMITS: dict[str, Limit] = {
    limit.name: replace(limit, metric=metric.name, highest=limit.highest or metric.high or 1.0)
    for metric in ROWS
    for limit in metric.limits
}


def limits_by_check() -> dict[str, tuple[str, ...]]:
    """Check, as Dagster shows it -> names of the limits that belong to it."""
    return {check: tuple(name for name, one in LIMITS.items() if one.check == check) for check in CHECKS}
