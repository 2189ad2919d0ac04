"""The result of each check on one shard's finished table, with the failing pictures."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

from imgpipe.assets.devices import shard_devices
from imgpipe.assets.gallery import Gallery, Shown
from imgpipe.assets.metadata import failing_table, review_counts, table
from imgpipe.engines.rejections import causes_in_words, count_causes
from imgpipe.metrics import CHECKS, LIMITS, limits_by_check
from imgpipe.names import counted
from imgpipe.records import ImageRow, ShardManifest, Status, count_statuses
from imgpipe.review.decisions import Verdict, verdict_of
from imgpipe.review.reviewers import review_of
from imgpipe.settings import AssetSettings
from imgpipe.stages.catalogue import MATTED, QUALITY
from imgpipe.storage.opening import Stores

#: Check -> what it means that it passes.
DESCRIPTIONS: Mapping[str, str] = {
    **CHECKS,
    "rows_conserved": "n = ok + rejected + error + skipped, one row per image of the manifest.",
    "rejected_share": "The share of rejected images, of those whose source is there, is at most "
    "`assets.max_rejected_share`.",
    "no_errors": "No image ended in an error.",
    "none_waiting": "No rejected image waits for a person to decide (`imgpipe review list`).",
    "review": "The reviewer (`review.reviewer`) failed no image; a warning where it left some unreviewed.",
    "models_as_configured": "The configured models were used; nothing fell back to another.",
    "device_as_expected": "Networks ran on one kind of device, and on no CPU where a GPU was to be expected.",
}
#: Check -> the asset whose own rejections it counts.
_REJECTS = {"matte": MATTED}
_LISTED = 20
#: Whether the check passed, its severity, the result in words, and metadata.
_Finding = tuple[bool, AssetCheckSeverity, str, Mapping[str, Any]]


def check_names(asset: str, *, reviewed: bool = False) -> tuple[str, ...]:
    """The checks of an asset, in the order of the UI. ``reviewed``: a reviewer judges the results too."""
    everywhere = ("rows_conserved", "rejected_share")
    if asset == QUALITY:
        by_reviewer = ("review",) if reviewed else ()
        of_machines = ("models_as_configured", "device_as_expected")
        return (*CHECKS, *by_reviewer, *everywhere, "no_errors", "none_waiting", *of_machines)
    return everywhere


def evaluate(
    name: str,
    rows: Sequence[ImageRow],
    manifest: ShardManifest,
    stores: Stores,
    gallery: Gallery | None = None,
    *,
    max_rejected_share: float = AssetSettings().max_rejected_share,
) -> AssetCheckResult:
    """One check over one shard's finished table; with a ``gallery`` the failing images are shown."""
    findings: Mapping[str, Callable[[], _Finding]] = {
        "rows_conserved": lambda: _rows_conserved(rows, manifest),
        "rejected_share": lambda: _rejected_share(rows, stores, gallery, max_rejected_share),
        "no_errors": lambda: _no_errors(rows, stores, gallery),
        "none_waiting": lambda: _none_waiting(rows, stores, gallery),
        "review": lambda: _review(rows, stores, gallery),
        "models_as_configured": lambda: _models_as_configured(rows),
        "device_as_expected": lambda: _device_as_expected(manifest, stores),
    }
    finding = findings.get(name, lambda: _score_finding(name, rows, stores, gallery))
    passed, severity, said, metadata = finding()
    return AssetCheckResult(
        check_name=name, passed=passed, severity=severity, description=said, metadata=metadata
    )


@dataclass(frozen=True, slots=True)
class _Failure:
    """One image that misses one threshold, or that a stage rejected without one (no value then).

    ``miss``: by how much, as a share of the threshold.
    """

    row: ImageRow
    check: Mapping[str, Any]

    @property
    def miss(self) -> float:
        if self.check.get("value") is None:
            return math.inf
        value, threshold = float(self.check["value"]), float(self.check["threshold"])
        return abs(value - threshold) / (abs(threshold) or 1.0)

    @property
    def severe(self) -> bool:
        return bool(self.check["severity"] == "error")


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a check's thresholds read over a shard: threshold's name -> values, limits in force.

    ``stopped``: images that an earlier stage rejected or that ended in an error, so nothing was measured.
    ``present``: images whose source was not deleted.
    """

    values: Mapping[str, list[float]]
    limits: Mapping[str, set[float]]
    failures: Sequence[_Failure]
    accepted: int
    stopped: Sequence[ImageRow]
    present: int

    @property
    def judged(self) -> int:
        """Images that were measured or that a stage of this check rejected."""
        measured = max((len(numbers) for numbers in self.values.values()), default=0)
        return measured + sum(failure.check.get("value") is None for failure in self.failures)


def _measure(name: str, rows: Sequence[ImageRow]) -> _Measured:
    """Failures come worst first; those of images that a person accepted are counted, not listed."""
    values: dict[str, list[float]] = {}
    limits: dict[str, set[float]] = {}
    failures: list[_Failure] = []
    accepted: set[str] = set()
    stopped: list[ImageRow] = []
    belonging = limits_by_check()[name]
    for row in rows:
        checks = row.details.get("checks", ())
        if row.status is Status.REJECTED and not checks and row.stage_failed == _REJECTS.get(name):
            failures.append(
                _Failure(row, {"name": row.stage_failed, "severity": "error", "message": row.why})
            )
        elif row.status in (Status.REJECTED, Status.ERROR) and not checks:
            stopped.append(row)
        for check in checks:
            if check["name"] not in belonging or check["value"] is None:
                continue
            values.setdefault(check["name"], []).append(float(check["value"]))
            limits.setdefault(check["name"], set()).add(check["threshold"])
            if check["passed"] or check["severity"] == "info":
                continue
            if verdict_of(row) is Verdict.ACCEPTED:
                accepted.add(row.image_id)
            else:
                failures.append(_Failure(row, check))
    failures.sort(key=lambda failure: (not failure.severe, -failure.miss))
    present = sum(row.status is not Status.SKIPPED for row in rows)
    return _Measured(values, limits, failures, len(accepted), stopped, present)


def _score_finding(name: str, rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> _Finding:
    found = _measure(name, rows)
    failures = found.failures
    messages: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        messages.setdefault((failure.row.image_id, failure.row.source_key), []).append(
            failure.check["message"]
        )
    metadata: dict[str, Any] = {
        "images_measured": found.judged,
        "images_failed": len(messages),
        "images_accepted_in_review": found.accepted,
        "images_not_measured": len(found.stopped),
        "thresholds": {key: sorted(value) for key, value in found.limits.items()},
    }
    for key, numbers in found.values.items():
        worst = max(numbers) if LIMITS[key].direction == "max" else min(numbers)
        metadata[f"{key}_worst"] = worst
        metadata[f"{key}_mean"] = statistics.fmean(numbers)
    if failures:
        metadata["failing_images"] = _failure_table(failures, stores)
        metadata |= _pictures([Shown(*image, "; ".join(each)) for image, each in messages.items()], gallery)
    all_stopped = bool(found.stopped) and len(found.stopped) == found.present
    if all_stopped:
        metadata |= _failing(found.stopped, stores, gallery)
    severe = not all_stopped and (not failures or any(failure.severe for failure in failures))
    severity = AssetCheckSeverity.ERROR if severe else AssetCheckSeverity.WARN
    return not failures and not all_stopped, severity, _said(found, len(messages)), metadata


def _said(found: _Measured, failed: int) -> str:
    said = (
        f"{failed} of {counted(found.judged, 'image')} failed" if found.judged else "nothing to measure here"
    )
    if found.accepted:
        said += f"; {found.accepted} accepted in review"
    if found.stopped:
        errors = sum(row.status is Status.ERROR for row in found.stopped)
        causes = [causes_in_words(count_causes(found.stopped)), f"{errors} x error" if errors else ""]
        said += f"; {len(found.stopped)} stopped earlier: {', '.join(filter(None, causes))}"
    return said


def _failure_table(failures: Sequence[_Failure], stores: Stores) -> MetadataValue[Any]:
    numbers = {"value": "float", "threshold": "float"}
    text = dict.fromkeys(("severity", "why", "quality_json"), "string")
    return table(
        {"image": "string", "check": "string", **numbers, **text},
        (
            {
                "image": failure.row.source_key,
                "check": failure.check["name"],
                **{key: float(failure.check[key]) for key in numbers if failure.check.get(key) is not None},
                "severity": failure.check["severity"],
                "why": failure.check["message"],
                "quality_json": stores.output.uri(failure.row.output_key),
            }
            for failure in failures[:_LISTED]
        ),
    )


def _rows_conserved(rows: Sequence[ImageRow], manifest: ShardManifest) -> _Finding:
    counts = count_statuses(rows)
    total = sum(counts[status.value] for status in Status)
    expected = {entry.source_key for entry in manifest.entries}
    found = {row.source_key for row in rows}
    passed = total == counts["n"] == len(expected) and found == expected
    said = (
        f"{counted(counts['n'], 'row')} = {counts['ok']} ok + {counts['rejected']} rejected + "
        f"{counts['error']} error + {counts['skipped']} skipped; "
        f"the manifest has {counted(len(expected), 'image')}"
    )
    metadata: dict[str, Any] = {
        "counts": counts,
        "missing": sorted(expected - found)[:_LISTED],
        "unexpected": sorted(found - expected)[:_LISTED],
    }
    return passed, AssetCheckSeverity.ERROR, said, metadata


def _rejected_share(
    rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None, allowed: float
) -> _Finding:
    present = sum(row.status is not Status.SKIPPED for row in rows)
    rejected = [row for row in rows if row.status is Status.REJECTED]
    share = len(rejected) / max(present, 1)
    passed = share <= allowed
    metadata: dict[str, Any] = {"share": share, "allowed": allowed, "causes": count_causes(rejected)}
    if not passed:
        metadata |= _failing(rejected, stores, gallery)
    why_rejected = f" ({causes_in_words(metadata['causes'])})" if rejected else ""
    of = f"{len(rejected)} of {counted(present, 'image')}"
    said = f"{of} rejected{why_rejected}: {share:.1%}, allowed {allowed:.1%}"
    return passed, AssetCheckSeverity.ERROR, said, metadata


def _no_errors(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> _Finding:
    bad = [row for row in rows if row.status is Status.ERROR]
    metadata = {"images_failed": len(bad), **_failing(bad, stores, gallery)}
    said = f"{len(bad)} of {counted(len(rows), 'image')} ended in an error"
    return not bad, AssetCheckSeverity.ERROR, said, metadata


def _none_waiting(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> _Finding:
    rejected = [row for row in rows if row.status is Status.REJECTED]
    waiting = [row for row in rejected if verdict_of(row) is None]
    metadata = {
        "images_waiting": len(waiting),
        "images_rejected": len(rejected),
        **_failing(waiting, stores, gallery),
    }
    said = f"{len(waiting)} of {counted(len(rejected), 'rejected image')} waiting for a decision"
    return not waiting, AssetCheckSeverity.WARN, said, metadata


def _review(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> _Finding:
    open_rows = [row for row in rows if verdict_of(row) is None]
    failed = [row for row in open_rows if _says(row, "fail")]
    unreviewed = [row for row in open_rows if _says(row, "unreviewed")]
    every_fail, passed = (sum(_says(row, verdict) for row in rows) for verdict in ("fail", "pass"))
    said = f"{every_fail} failed, {passed} passed, {len(unreviewed)} unreviewed"
    decided = every_fail - len(failed)
    if decided:
        said += f"; a person decided about {decided} of the failed ones"
    metadata = {**review_counts(rows), **_failing([*failed, *unreviewed], stores, gallery)}
    severity = AssetCheckSeverity.ERROR if failed else AssetCheckSeverity.WARN
    return not failed and not unreviewed, severity, said, metadata


def _says(row: ImageRow, verdict: str) -> bool:
    review = review_of(row)
    return review is not None and review.verdict == verdict


def _models_as_configured(rows: Sequence[ImageRow]) -> _Finding:
    reasons = Counter(reason for row in rows for reason in row.details.get("fallbacks", ()))
    said = "; ".join(f"{counted(count, 'image')}: {reason}" for reason, count in reasons.items())
    said = said or "every image was made by the configured models"
    metadata = {"fallbacks": dict(reasons)}
    return not reasons, AssetCheckSeverity.WARN, said, metadata


def _device_as_expected(manifest: ShardManifest, stores: Stores) -> _Finding:
    found = shard_devices(stores.output, manifest.dataset, manifest.shard)
    images = {": ".join(place): count for place, count in found.images.items()}
    metadata = {"images_by_device": images, "reasons": dict(found.reasons)}
    return found.as_expected, AssetCheckSeverity.WARN, str(found), metadata


def _failing(rows: Sequence[ImageRow], stores: Stores, gallery: Gallery | None) -> dict[str, Any]:
    if not rows:
        return {}
    pictures = _pictures([Shown(row.image_id, row.source_key, row.why) for row in rows], gallery)
    return {"failing_images": failing_table(rows, stores, _LISTED), **pictures}


def _pictures(shown: Sequence[Shown], gallery: Gallery | None) -> dict[str, Any]:
    return {} if gallery is None else gallery.metadata("failing_pictures", shown)
