"""The metadata of a finished shard in the Dagster UI."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from imgpipe.config import Settings
from imgpipe.engines.files import files_by_kind
from imgpipe.engines.shard import ShardResult
from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import Verdict, verdict_of
from imgpipe.review.reviewers import review_of
from imgpipe.settings import CostSettings
from imgpipe.stages.catalogue import QUALITY, RAW
from imgpipe.storage import keys
from imgpipe.storage.opening import Stores

#: Scores whose course over partitions and time is shown.
PLOTTED_SCORES = ("psnr", "ssim", "psnr_y", "ssim_y")


def shard_metadata(
    result: ShardResult, stores: Stores, settings: Settings, *, gpu: bool = False
) -> dict[str, Any]:
    """Counts, scores, speed, time per step, cost, what is not ok and where everything lies.

    ``gpu``: the step may use one. Its numbers plot over partitions and over time by themselves.
    """
    counts = result.counts
    values: dict[str, Any] = {
        "images": counts["n"],
        **{status.value: counts[status.value] for status in Status},
        "rejected_share": counts["rejected"] / max(counts["n"], 1),
        "error_share": counts["error"] / max(counts["n"], 1),
        "computed": result.computed,
        "kept_from_before": result.kept,
        "wall_seconds": round(result.wall_seconds, 3),
        "table": stores.output.uri(keys.table_key(result.asset, result.dataset, result.shard)),
    }
    kinds = files_by_kind(result.rows)
    if kinds:
        values["files"] = kinds
    values |= _speed(result)
    values |= _cost(result, settings.cost)
    values |= _seconds(result.rows)
    values |= _compute(result.rows, gpu=gpu)
    values |= _models(result.rows)
    if result.asset == RAW:
        values["images_with_notes"] = sum(
            row.status is Status.OK and bool(row.reasons) for row in result.rows
        )
    if result.asset == QUALITY:
        values |= _scores(result.rows)
        values |= review_counts(result.rows)
        values["accepted_in_review"] = sum(verdict_of(row) is Verdict.ACCEPTED for row in result.rows)
    bad = [row for row in result.rows if row.status in (Status.REJECTED, Status.ERROR)]
    if bad:
        values["not_ok"] = failing_table(bad, stores)
    return values


def table(columns: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> MetadataValue[Any]:
    """A table in the UI. ``columns``: name -> type (string, float); what a record lacks is empty."""
    return MetadataValue.table(
        [TableRecord({name: record.get(name, "") for name in columns}) for record in records],
        schema=TableSchema([TableColumn(name, kind) for name, kind in columns.items()]),
    )


def failing_table(rows: Sequence[ImageRow], stores: Stores, limit: int = 50) -> MetadataValue[Any]:
    """Images with their status and reasons, the first ``limit`` of them."""
    return table(
        dict.fromkeys(("image", "source", "status", "stage", "why"), "string"),
        (
            {
                "image": row.source_key,
                "source": stores.source.uri(row.source_key),
                "status": row.status.value,
                "stage": row.stage_failed,
                "why": row.why,
            }
            for row in rows[:limit]
        ),
    )


def review_counts(rows: Sequence[ImageRow]) -> dict[str, Any]:
    """The reviewer's verdicts, and what they cost when they were made; empty where none was asked."""
    reviews = [review for review in map(review_of, rows) if review is not None]
    if not reviews:
        return {}
    verdicts = Counter(review.verdict for review in reviews)
    return {
        **{f"review_{name}": verdicts[name] for name in ("pass", "fail", "unreviewed")},
        "review_cost_usd": round(sum(review.cost_usd or 0.0 for review in reviews), 6),
    }


def _speed(result: ShardResult) -> dict[str, Any]:
    if not result.computed or result.wall_seconds <= 0:
        return {}
    megapixels = sum(row.width * row.height for row in result.rows if row.status is not Status.SKIPPED) / 1e6
    share = result.computed / max(len(result.rows), 1)
    return {
        "images_per_second": round(result.computed / result.wall_seconds, 4),
        "megapixels_per_second": round(megapixels * share / result.wall_seconds, 4),
    }


def _seconds(rows: Sequence[ImageRow]) -> dict[str, Any]:
    totals = {name: 0.0 for row in rows for name in row.seconds}
    for row in rows:
        for name, seconds in row.seconds.items():
            totals[name] += seconds
    return {f"seconds_{name}": round(total, 4) for name, total in totals.items()}


def _cost(result: ShardResult, cost: CostSettings) -> dict[str, Any]:
    """What 1,000 images of this step cost on a machine of the configured price, by the clock on the wall."""
    if cost.price_per_hour is None or not result.computed:
        return {}
    hours = result.wall_seconds / result.computed * 1000 / 3600
    return {"cost_per_1000_images": round(hours * cost.price_per_hour, 4), "currency": cost.currency}


def _compute(rows: Sequence[ImageRow], *, gpu: bool) -> dict[str, Any]:
    """Seconds in the stage itself, without reading and writing, per image that it made.

    With ``gpu`` also the part of them that a GPU was held: 0 where the network ran on the CPU after all.
    """
    made = [row for row in rows if "compute" in row.seconds]
    if not made:
        return {}
    total = sum(row.seconds["compute"] for row in made)
    values = {"compute_seconds_per_image": total / len(made)}
    if gpu:
        held = sum(
            row.seconds["compute"] for row in made if row.model and row.model.device.startswith("cuda")
        )
        values["gpu_seconds_per_image"] = held / len(made)
    return {name: round(seconds, 6) for name, seconds in values.items()}


def _models(rows: Sequence[ImageRow]) -> dict[str, Any]:
    used = {row.model for row in rows if row.model is not None}
    fallbacks = sorted({model.fallback_reason for model in used if model.fallback_reason})
    values = {
        "models": [model.as_dict() for model in sorted(used, key=str)],
        "fallback": "; ".join(fallbacks),
    }
    return {name: value for name, value in values.items() if value}


def _scores(rows: Sequence[ImageRow]) -> dict[str, Any]:
    import numpy as np

    values: dict[str, Any] = {}
    for name in PLOTTED_SCORES:
        numbers = [row.metrics[name] for row in rows if name in row.metrics]
        if numbers:
            values[f"{name}_mean"] = round(statistics.fmean(numbers), 6)
            values[f"{name}_median"] = round(statistics.median(numbers), 6)
            values[f"{name}_p05"] = round(float(np.quantile(numbers, 0.05)), 6)
            values[f"{name}_min"] = round(min(numbers), 6)
    return values
