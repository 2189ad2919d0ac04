"""The result of each check on one shard's finished table, with the failing pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetCheckSeverity, MetadataValue, TableRecord

from imgpipe.assets.gallery import Gallery, Shown
from imgpipe.assets.metadata import failing_table
from imgpipe.engines.shard import Stores
from imgpipe.metrics import CHECKS, LIMITS, limits_by_check
from imgpipe.records import ImageRow, ShardManifest, Status, count_statuses
from imgpipe.review.decisions import Verdict, verdict_of
from imgpipe.stages.chain import QUALITY

#: Check -> what it means that it passes.
DESCRIPTIONS: Mapping[str, str] = {
    **CHECKS,
    "rows_conserved": "n = ok + rejected + error + skipped, one row per image of the manifest.",
    "no_errors": "No image ended in an error.",
    "none_waiting": "No rejected image waits for a person to decide (`imgpipe review list`).",
    "models_as_configured": "The configured models were used; nothing fell back to another.",
}
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check on one partition."""

    passed: bool
    severity: AssetCheckSeverity
    description: str
    metadata: Mapping[str, MetadataValue[Any]]


def check_names(asset: str) -> tuple[str, ...]:
    """The checks of an asset, in the order in which the UI shows them."""
    if asset == QUALITY:
        return (*CHECKS, "rows_conserved", "no_errors", "none_waiting", "models_as_configured")
    return ("rows_conserved",)


def evaluate(
    name: str,
    rows: Sequence[ImageRow],
    manifest: ShardManifest,
    stores: Stores,
    gallery: Gallery | None = None,
) -> Finding:
    """One check over one shard's finished table; with a ``gallery`` the failing images are shown."""
    if name in CHECKS:
        return _score_finding(name, rows, stores, gallery)
    if name == "rows_conserved":
        return _rows_conserved(rows, manifest)
    if name == "no_errors":
        return _no_errors(rows, stores, gallery)
    if name == "none_waiting":
        return _none_waiting(rows, stores, gallery)
    return _models_as_configured(rows)


@dataclass(frozen=True, slots=True)
class _Failure:
    """One image that misses one threshold. ``miss``: by how much, as a share of the threshold."""

    row: ImageRow
    check: Mapping[str, Any]

    @property
    def miss(self) -> float:
        value, threshold = float(self.check["value"]), float(self.check["threshold"])
        return abs(value - threshold) / (abs(threshold) or 1.0)

    @property
    def severe(self) -> bool:
        return bool(self.check["severity"] == "error")


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a check's thresholds read over a shard: threshold's name -> values, limits in force."""

    values: Mapping[str, list[float]]
    limits: Mapping[str, list[float]]
    failures: Sequence[_Failure]
    accepted: int


def _measure(name: str, rows: Sequence[ImageRow]) -> _Measured:
    """Failures come worst first; those of images that a person accepted are counted, not listed."""
    values: dict[str, list[float]] = {}
    limits: dict[str, list[float]] = {}
    failures: list[_Failure] = []
    accepted: set[str] = set()
    belonging = limits_by_check()[name]
    for row in rows:
        for check in row.details.get("checks", ()):
            if check["name"] not in belonging or check["value"] is None:
                continue
            values.setdefault(check["name"], []).append(float(check["value"]))
            known = limits.setdefault(check["name"], [])
            if check["threshold"] not in known:
                known.append(check["threshold"])
            if check["passed"] or check["severity"] == "info":
                continue
            if verdict_of(row) is Verdict.ACCEPTED:
                accepted.add(row.image_id)
            else:
                failures.append(_Failure(row, check))
    failures.sort(key=lambda failure: (not failure.severe, -failure.miss))
    return _Measured(values, limits, failures, len(accepted))


def _score_finding(name: str, rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> Finding:
    found = _measure(name, rows)
    failures = found.failures
    measured = max((len(numbers) for numbers in found.values.values()), default=0)
    why: dict[str, list[str]] = {}
    for failure in failures:
        why.setdefault(failure.row.image_id, []).append(failure.check["message"])
    metadata: dict[str, MetadataValue[Any]] = {
        "images_measured": MetadataValue.int(measured),
        "images_failed": MetadataValue.int(len(why)),
        "images_accepted_in_review": MetadataValue.int(found.accepted),
        "thresholds": MetadataValue.json({key: sorted(value) for key, value in found.limits.items()}),
    }
    for key, numbers in found.values.items():
        worst = max(numbers) if LIMITS[key].direction == "max" else min(numbers)
        metadata[f"{key}_worst"] = MetadataValue.float(worst)
        metadata[f"{key}_mean"] = MetadataValue.float(statistics.fmean(numbers))
    if failures:
        metadata["failing_images"] = _failure_table(failures, stores)
    if failures and gallery is not None:
        shown = [Shown(image_id, "; ".join(messages)) for image_id, messages in why.items()]
        metadata |= gallery.metadata("failing_pictures", shown)
    said = f"{len(why)} of {measured} images failed" if measured else "nothing to measure here"
    if found.accepted:
        said += f"; {found.accepted} accepted in review"
    severe = not failures or any(failure.severe for failure in failures)
    return Finding(
        not failures, AssetCheckSeverity.ERROR if severe else AssetCheckSeverity.WARN, said, metadata
    )


def _failure_table(failures: Sequence[_Failure], stores: Stores) -> MetadataValue[Any]:
    return MetadataValue.table(
        [
            TableRecord(
                {
                    "image": failure.row.image_id,
                    "check": failure.check["name"],
                    "value": float(failure.check["value"]),
                    "threshold": float(failure.check["threshold"]),
                    "severity": failure.check["severity"],
                    "why": failure.check["message"],
                    "quality_json": stores.output.uri(failure.row.output_key),
                }
            )
            for failure in failures[:_LISTED]
        ]
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


def _no_errors(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> Finding:
    bad = [row for row in rows if row.status is Status.ERROR]
    metadata: dict[str, MetadataValue[Any]] = {"images_failed": MetadataValue.int(len(bad))}
    if bad:
        metadata["failing_images"] = failing_table(bad, stores, _LISTED)
    if bad and gallery is not None:
        shown = [Shown(row.image_id, f"{row.error_class}: {row.error_message}") for row in bad]
        metadata |= gallery.metadata("failing_pictures", shown)
    return Finding(
        not bad, AssetCheckSeverity.ERROR, f"{len(bad)} of {len(rows)} images ended in an error", metadata
    )


def _none_waiting(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> Finding:
    rejected = [row for row in rows if row.status is Status.REJECTED]
    waiting = [row for row in rejected if verdict_of(row) is None]
    metadata: dict[str, MetadataValue[Any]] = {
        "images_waiting": MetadataValue.int(len(waiting)),
        "images_rejected": MetadataValue.int(len(rejected)),
    }
    if waiting:
        metadata["failing_images"] = failing_table(waiting, stores, _LISTED)
    if waiting and gallery is not None:
        shown = [Shown(row.image_id, "; ".join(row.reasons)) for row in waiting]
        metadata |= gallery.metadata("failing_pictures", shown)
    said = f"{len(waiting)} of {len(rejected)} rejected images wait for a decision"
    return Finding(not waiting, AssetCheckSeverity.WARN, said, metadata)


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
        {"fallbacks": MetadataValue.json(reasons)},
    )
