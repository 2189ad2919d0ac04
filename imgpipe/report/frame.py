"""All rows of a data set as one table: one line per input image, failures included."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from imgpipe.errors import ConfigError
from imgpipe.records import ImageRow, Status
from imgpipe.report.metrics import is_upper_bound, metric_of
from imgpipe.storage.parquet import printable

_TEXT_COLUMNS = (
    *("image_id", "source_key", "shard", "etag", "status", "stage_failed", "error_class", "error_message"),
    *("reasons", "notes", "failed_checks", "fallbacks", "stage_hash", "quality_json_key"),
    *("source_sha256", "source_format", "checks"),
)
_OF_THE_SOURCE = ("width", "height", "bit_depth", "format", "size_bytes")
_NUMBER_COLUMNS = ("attempts", "source_width", "source_height", "source_bit_depth", "source_size_bytes")
CHECK_COLUMNS = (
    *("position", "image_id", "name", "metric"),
    *("value", "threshold", "margin", "passed", "severity"),
)


@dataclass(frozen=True, slots=True)
class ShardRows:
    """One shard's finished tables: asset name -> rows, in chain order; the last is the quality table."""

    shard: str
    tables: Mapping[str, Sequence[ImageRow]]


@dataclass(frozen=True, slots=True)
class ImageLine:
    """One image with its rows of all ``assets``, in chain order; ``final`` is its outcome."""

    shard: str
    assets: tuple[str, ...]
    final: ImageRow
    stages: Mapping[str, ImageRow]


@dataclass(frozen=True, slots=True)
class PageContent:
    """Everything that the page shows.

    ``frame``, ``checks``, ``lines``: see :mod:`imgpipe.report.frame`; ``worst``: check -> line numbers;
    ``shown``: line numbers with thumbnails; ``facts``: see :class:`ReportArchive`.
    """

    dataset: str
    frame: pd.DataFrame
    checks: pd.DataFrame
    lines: Sequence[ImageLine]
    metrics: Sequence[str]
    worst: Mapping[str, Sequence[int]]
    shown: Sequence[int]
    facts: Mapping[str, Any]
    problems: Sequence[str]


def collect_lines(shards: Iterable[ShardRows]) -> list[ImageLine]:
    """One line per input image, in the order of the shards and of their last tables.

    An image that an earlier table has and the last one has not is kept as an error: a report never
    has fewer lines than there were images. Raises :class:`ConfigError` for a shard without tables.
    """
    lines: list[ImageLine] = []
    for shard in shards:
        if not shard.tables:
            raise ConfigError(
                f"shard {shard.shard}: expected at least one table, got none; materialize its assets first"
            )
        by_image: dict[str, dict[str, ImageRow]] = {}
        assets = tuple(shard.tables)
        last_asset = assets[-1]
        for asset in (last_asset, *assets):
            for row in shard.tables[asset]:
                by_image.setdefault(row.image_id, {})[asset] = row
        for rows in by_image.values():
            stages = {asset: rows[asset] for asset in assets if asset in rows}
            final = rows.get(last_asset) or _missing(last_asset, stages)
            lines.append(ImageLine(shard.shard, assets, final, stages))
    return lines


def picture_stages(line: ImageLine) -> dict[str, ImageRow]:
    """The stages between the first (the source) and the last (its verdict): those that make pictures."""
    return {asset: line.stages[asset] for asset in line.assets[1:-1] if asset in line.stages}


def build_frame(lines: Sequence[ImageLine]) -> pd.DataFrame:
    """One row per line.

    Text columns as in :class:`ImageRow`; per asset ``<asset>_status, _key, _sha256, _width, _height,
    _size_bytes, _model, _backend, _fallback_reason, _seconds``; ``seconds_total``; every metric as a
    float64 column of its own (NaN where it was not measured), completed by the values that checks
    looked at; ``checks`` holds the single verdicts as JSON.
    """
    flat = [_flat(line) for line in lines]
    frame = pd.DataFrame(
        [{name: printable(v) if isinstance(v, str) else v for name, v in row.items()} for row in flat]
    )
    types = {**dict.fromkeys(_TEXT_COLUMNS, "string"), **dict.fromkeys(_NUMBER_COLUMNS, "int64")}
    frame = frame.reindex(columns=frame.columns.union(list(types), sort=False)).astype(types)
    names = metric_names(lines)
    scores = [{**_check_values(line.final), **line.final.metrics} for line in lines]
    columns = {
        name: pd.Series([float(score.get(name, math.nan)) for score in scores], dtype="float64")
        for name in names
    }
    seconds = [sum(row.total_seconds for row in line.stages.values()) for line in lines]
    columns["seconds_total"] = pd.Series(seconds, dtype="float64")
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def metric_names(lines: Iterable[ImageLine]) -> list[str]:
    """Every score that any image has, in order of first appearance."""
    names: dict[str, None] = {}
    for line in lines:
        names.update(dict.fromkeys(line.final.metrics))
        names.update(dict.fromkeys(_check_values(line.final)))
    return list(names)


def build_checks_frame(lines: Sequence[ImageLine]) -> pd.DataFrame:
    """One row per image and check that was measured.

    ``position`` is the line's number; ``margin`` is how far the value is on the right side of its
    threshold (negative: failed), in the score's own unit.
    """
    rows = [
        {
            "position": position,
            "image_id": line.final.image_id,
            "name": check["name"],
            "metric": metric_of(check["name"]),
            "value": float(check["value"]),
            "threshold": float(check["threshold"]),
            "margin": check_margin(check["name"], float(check["value"]), float(check["threshold"])),
            "passed": bool(check["passed"]),
            "severity": str(check["severity"]),
        }
        for position, line in enumerate(lines)
        for check in checks_of(line.final)
        if check["value"] is not None and check["threshold"] is not None
    ]
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS))


def check_margin(check: str, value: float, threshold: float) -> float:
    """Distance to the threshold, negative where the value is on the wrong side."""
    return threshold - value if is_upper_bound(check) else value - threshold


def checks_of(row: ImageRow) -> Sequence[Mapping[str, Any]]:
    """The single verdicts of a quality row; empty where none were made."""
    checks: Sequence[Mapping[str, Any]] = row.details.get("checks", ())
    return checks


def failed_checks(row: ImageRow) -> list[str]:
    """Names of the checks that did not pass, warnings included, mere information not."""
    return [check["name"] for check in checks_of(row) if not check["passed"] and check["severity"] != "info"]


def _missing(asset: str, stages: Mapping[str, ImageRow]) -> ImageRow:
    before = list(stages.values())[-1]
    return replace(
        before,
        status=Status.ERROR,
        stage_failed=asset,
        error_class="RowMissing",
        error_message=f"{asset} has no row for this image; materialize {asset} for its shard again",
        metrics={},
        details={},
        output_key="",
    )


def _flat(line: ImageLine) -> dict[str, Any]:
    row = line.final
    first = next(iter(line.stages.values()))
    flat: dict[str, Any] = {
        "image_id": row.image_id,
        "source_key": row.source_key,
        "shard": line.shard,
        "etag": row.etag,
        "status": row.status.value,
        "stage_failed": row.stage_failed,
        "error_class": row.error_class,
        "error_message": row.error_message,
        "reasons": "; ".join(row.reasons),
        "notes": "; ".join(_notes(line)),
        "failed_checks": ",".join(failed_checks(row)),
        "fallbacks": "; ".join(_fallbacks(line)),
        "attempts": row.attempts,
        "stage_hash": row.stage_hash,
        "quality_json_key": row.output_key,
        "source_sha256": first.input_sha256,
        **{f"source_{name}": getattr(first, name) for name in _OF_THE_SOURCE},
        "checks": json.dumps([_plain(check) for check in checks_of(row)], ensure_ascii=False),
    }
    for asset, stage in line.stages.items():
        flat |= {f"{asset}_{name}": value for name, value in _stage_columns(stage)}
    return flat


def _stage_columns(row: ImageRow) -> Iterator[tuple[str, Any]]:
    yield "status", row.status.value
    yield "key", row.output_key
    yield "sha256", row.output_sha256
    yield "width", row.width
    yield "height", row.height
    yield "size_bytes", row.size_bytes
    yield "model", row.model.name if row.model else ""
    yield "backend", row.model.backend if row.model else ""
    yield "fallback_reason", row.model.fallback_reason if row.model else ""
    yield "seconds", row.total_seconds


def _notes(line: ImageLine) -> tuple[str, ...]:
    """What decoding the source had to decide: the raw row's reasons, where it could be read."""
    raw = line.stages.get(line.assets[0])
    return raw.reasons if raw is not None and raw.status is Status.OK else ()


def _fallbacks(line: ImageLine) -> list[str]:
    """Why another model than the configured one was used, each reason once."""
    said = [str(reason) for reason in line.final.details.get("fallbacks", ())]
    said += [
        f"{asset}: {row.model.fallback_reason}"
        for asset, row in picture_stages(line).items()
        if row.model and row.model.fallback_reason
    ]
    return list(dict.fromkeys(said))


def _check_values(row: ImageRow) -> dict[str, float]:
    return {
        metric_of(check["name"]): float(check["value"])
        for check in checks_of(row)
        if check["value"] is not None
    }


def _plain(check: Mapping[str, Any]) -> dict[str, Any]:
    return {key: check.get(key) for key in ("name", "passed", "severity", "value", "threshold", "message")}
