"""Asset checks per partition.

Checks with partitions are a preview API of Dagster; it is used in this module alone. With one
partition in a run an ``AssetCheckResult`` carries the right one. In a run over several, it would be
stored without any, so there one evaluation per partition is yielded instead.
"""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

import json
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    Output,
    TableColumn,
    TableRecord,
    TableSchema,
    multi_asset_check,
)
from dagster_shared.utils.warnings import PreviewWarning

from imgpipe.assets.metadata import failing_table
from imgpipe.config import Settings
from imgpipe.engines.shard import Stores
from imgpipe.partitions import shard_of, shard_partitions
from imgpipe.records import ImageRow, ShardManifest, Status, count_statuses
from imgpipe.resources.stores import ImageStores
from imgpipe.stages.chain import QUALITY, steps
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.tables import read_table

#: Dagster check -> the thresholds of an image's verdict that belong to it.
SCORE_CHECKS: Mapping[str, tuple[str, ...]] = {
    "psnr": ("psnr_y_min_db",),
    "ssim": ("ssim_y_min", "ssim_y_half_min", "worst_window_min"),
    "no_lines": ("lines_coherence_max", "lines_step_max"),
    "edges_preserved": ("edge_pixel_loss_max",),
    "colors_kept": ("color_shift_255_max", "local_color_shift_255_max"),
    "detail_kept": (
        "subpixel_shift_px_max",
        "detail_ratio_min",
        "detail_ratio_max",
        "occupancy_ratio_min",
        "grid_ratio_max",
    ),
    "matte": ("foreground_min", "foreground_max", "components_max", "soft_band_px_max"),
}

_DESCRIPTIONS: Mapping[str, str] = {
    "psnr": "Luma PSNR of the round trip of every image is at least its profile's threshold.",
    "ssim": "Luma SSIM of the round trip, at full and half size and in its worst window.",
    "no_lines": "No seams along the tile grid and no other long thin lines that the source has not.",
    "edges_preserved": "The subject's strong edges lie inside its matte.",
    "colors_kept": "Colours are the source's, on the whole and locally.",
    "detail_kept": "No blur, ringing, shift, posterisation or blocking.",
    "matte": "Share of the subject, loose pieces and softness of the matte are plausible.",
    "rows_conserved": "n = ok + rejected + error + skipped, one row per image of the manifest.",
    "no_errors": "No image ended in an error.",
    "models_as_configured": "The configured models were used; nothing fell back to another.",
}
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of one partition."""

    passed: bool
    severity: AssetCheckSeverity
    description: str
    metadata: Mapping[str, MetadataValue[Any]]


def build_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """One definition per asset; the scores are checked on ``quality_reports``."""
    return [_checks_of(step.asset, settings) for step in steps(settings)]


def check_names(asset: str) -> tuple[str, ...]:
    """The checks of an asset, in the order in which the UI shows them."""
    if asset == QUALITY:
        return (*SCORE_CHECKS, "rows_conserved", "no_errors", "models_as_configured")
    return ("rows_conserved",)


def evaluate(name: str, rows: Sequence[ImageRow], manifest: ShardManifest, stores: Stores) -> Finding:
    """One check over one shard's finished table."""
    if name in SCORE_CHECKS:
        return _score_finding(name, rows, stores)
    if name == "rows_conserved":
        return _rows_conserved(rows, manifest)
    if name == "no_errors":
        return _no_errors(rows, stores)
    return _models_as_configured(rows)


def _checks_of(asset: str, settings: Settings) -> AssetChecksDefinition:
    names = check_names(asset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)
        specs = [
            AssetCheckSpec(
                name,
                asset=asset,
                description=_DESCRIPTIONS[name],
                partitions_def=shard_partitions(settings),
            )
            for name in names
        ]

    @multi_asset_check(name=f"{asset}_checks", specs=specs)
    def checks(context: AssetCheckExecutionContext, stores: ImageStores) -> Iterator[Any]:
        opened = stores.open(settings)
        keys = context.op_execution_context.partition_keys
        for key in keys:
            shard = shard_of(key, settings)
            manifest = read_manifest(opened.output, settings.dataset, shard)
            rows, _ = read_table(opened.output, asset, settings.dataset, shard)
            for name in names:
                finding = evaluate(name, rows, manifest, opened)
                yield (
                    _result(asset, name, finding)
                    if len(keys) == 1
                    else _evaluation(asset, name, finding, key)
                )
        if len(keys) != 1:
            for spec in specs:
                yield Output(None, output_name=spec.get_python_identifier())

    return checks


def _result(asset: str, name: str, finding: Finding) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=finding.passed,
        severity=finding.severity,
        description=finding.description,
        metadata=dict(finding.metadata),
    )


def _evaluation(asset: str, name: str, finding: Finding, partition: str) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(
        asset_key=AssetKey(asset),
        check_name=name,
        passed=finding.passed,
        severity=finding.severity,
        description=finding.description,
        metadata=dict(finding.metadata),
        partition=partition,
    )


def _score_finding(name: str, rows: Sequence[ImageRow], stores: Stores) -> Finding:
    mine = set(SCORE_CHECKS[name])
    failures: list[tuple[ImageRow, Mapping[str, Any]]] = []
    values: dict[str, list[float]] = {}
    thresholds: dict[str, list[float]] = {}
    for row in rows:
        for check in row.details.get("checks", ()):
            if check["name"] not in mine or check["value"] is None:
                continue
            values.setdefault(check["name"], []).append(float(check["value"]))
            limits = thresholds.setdefault(check["name"], [])
            if check["threshold"] not in limits:
                limits.append(check["threshold"])
            if not check["passed"] and check["severity"] != "info":
                failures.append((row, check))
    severe = any(check["severity"] == "error" for _, check in failures)
    measured = max((len(numbers) for numbers in values.values()), default=0)
    failed_images = len({row.image_id for row, _ in failures})
    metadata: dict[str, MetadataValue[Any]] = {
        "images_measured": MetadataValue.int(measured),
        "images_failed": MetadataValue.int(failed_images),
        "thresholds": MetadataValue.json({key: sorted(value) for key, value in thresholds.items()}),
    }
    for key, numbers in values.items():
        metadata[f"{key}_worst"] = MetadataValue.float(max(numbers) if key.endswith("_max") else min(numbers))
        metadata[f"{key}_mean"] = MetadataValue.float(statistics.fmean(numbers))
    if failures:
        metadata["failing_images"] = _failure_table(failures, stores)
    said = f"{failed_images} of {measured} images failed" if measured else "nothing to measure here"
    severity = AssetCheckSeverity.ERROR if severe or not failures else AssetCheckSeverity.WARN
    return Finding(not failures, severity, said, metadata)


def _failure_table(
    failures: Sequence[tuple[ImageRow, Mapping[str, Any]]], stores: Stores
) -> MetadataValue[Any]:
    return MetadataValue.table(
        [
            TableRecord(
                {
                    "image": row.image_id,
                    "check": check["name"],
                    "value": float(check["value"]),
                    "threshold": float(check["threshold"]),
                    "severity": check["severity"],
                    "why": check["message"],
                    "quality_json": stores.output.uri(row.output_key),
                }
            )
            for row, check in failures[:_LISTED]
        ],
        schema=TableSchema(
            [
                TableColumn("image"),
                TableColumn("check"),
                TableColumn("value", "float"),
                TableColumn("threshold", "float"),
                TableColumn("severity"),
                TableColumn("why"),
                TableColumn("quality_json"),
            ]
        ),
    )


def _rows_conserved(rows: Sequence[ImageRow], manifest: ShardManifest) -> Finding:
    counts = count_statuses(rows)
    total = sum(counts[status.value] for status in Status)
    expected = {entry.image_id for entry in manifest.entries}
    found = {row.image_id for row in rows}
    passed = total == counts["n"] == len(expected) and found == expected
    said = (
        f"{counts['n']} rows = {counts['ok']} ok + {counts['rejected']} rejected + {counts['error']} error "
        f"+ {counts['skipped']} skipped; the manifest has {len(expected)} images"
    )
    metadata: dict[str, MetadataValue[Any]] = {
        "counts": MetadataValue.json(counts),
        "missing": MetadataValue.json(sorted(expected - found)[:_LISTED]),
        "unexpected": MetadataValue.json(sorted(found - expected)[:_LISTED]),
    }
    return Finding(passed, AssetCheckSeverity.ERROR, said, metadata)


def _no_errors(rows: Sequence[ImageRow], stores: Stores) -> Finding:
    bad = [row for row in rows if row.status is Status.ERROR]
    metadata: dict[str, MetadataValue[Any]] = {"images_failed": MetadataValue.int(len(bad))}
    if bad:
        metadata["failing_images"] = failing_table(bad, stores, _LISTED)
    return Finding(
        not bad, AssetCheckSeverity.ERROR, f"{len(bad)} of {len(rows)} images ended in an error", metadata
    )


def _models_as_configured(rows: Sequence[ImageRow]) -> Finding:
    reasons: dict[str, int] = {}
    for row in rows:
        for reason in row.details.get("fallbacks", ()):
            reasons[reason] = reasons.get(reason, 0) + 1
    said = "; ".join(f"{count} images: {reason}" for reason, count in reasons.items())
    return Finding(
        not reasons,
        AssetCheckSeverity.WARN,
        said or "every image was made by the configured models",
        {"fallbacks": MetadataValue.json(json.loads(json.dumps(reasons)))},
    )
