"""What each check says of a finished table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dagster import AssetCheckResult, AssetCheckSeverity, TableMetadataValue, TableRecord

from imgpipe.assets.findings import evaluate
from imgpipe.assets.gallery import Gallery, Shown
from imgpipe.config import Settings
from imgpipe.engines.shard import Stores
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status
from imgpipe.storage.memory import MemoryStore

STORES = Stores(MemoryStore("source"), MemoryStore("output"))


def row(name: str, status: Status = Status.OK, **details: Any) -> ImageRow:
    return ImageRow(f"{name}.png", name, "e", status, output_key=f"q/{name}/quality.json", details=details)


def verdict(
    name: str, value: float, threshold: float, *, passed: bool, severity: str = "error"
) -> dict[str, Any]:
    return {
        "name": name,
        "passed": passed,
        "severity": severity,
        "value": value,
        "threshold": threshold,
        "message": f"{name} is {value}",
    }


def manifest(*names: str) -> ShardManifest:
    return ShardManifest("art", "00000", tuple(ManifestEntry(f"{n}.png", n, "e", 1) for n in names))


def failing_images(finding: AssetCheckResult) -> list[TableRecord]:
    table = finding.metadata["failing_images"]
    assert isinstance(table, TableMetadataValue)
    return list(table.records)


def test_psnr_fails_with_the_failing_images_and_the_threshold_in_its_metadata() -> None:
    rows = [
        row("a", checks=[verdict("psnr_y_min_db", 35.0, 30.0, passed=True)]),
        row("b", checks=[verdict("psnr_y_min_db", 21.0, 30.0, passed=False)]),
    ]
    finding = evaluate("psnr", rows, manifest("a", "b"), STORES)
    assert not finding.passed
    assert finding.severity is AssetCheckSeverity.ERROR
    assert finding.metadata["images_measured"].value == 2
    assert finding.metadata["images_failed"].value == 1
    assert finding.metadata["thresholds"].value == {"psnr_y_min_db": [30.0]}
    assert finding.metadata["psnr_y_min_db_worst"].value == 21.0
    (record,) = failing_images(finding)
    assert (record.data["image"], record.data["value"], record.data["threshold"]) == ("b", 21.0, 30.0)
    assert record.data["quality_json"] == STORES.output.uri("q/b/quality.json")


def test_a_warning_fails_with_warn_and_an_info_does_not() -> None:
    warned = [row("a", checks=[verdict("components_max", 9, 6, passed=False, severity="warn")])]
    finding = evaluate("matte", warned, manifest("a"), STORES)
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.WARN)
    informed = [row("a", checks=[verdict("components_max", 9, 6, passed=False, severity="info")])]
    assert evaluate("matte", informed, manifest("a"), STORES).passed


def test_a_check_looks_at_its_own_scores_only() -> None:
    rows = [row("a", checks=[verdict("ssim_y_min", 0.1, 0.9, passed=False)])]
    assert evaluate("psnr", rows, manifest("a"), STORES).passed
    assert not evaluate("ssim", rows, manifest("a"), STORES).passed
    assert "nothing to measure" in str(evaluate("psnr", rows, manifest("a"), STORES).description)


@pytest.mark.parametrize(
    ("names", "passed"), [(("a", "b"), True), (("a",), False), (("a", "b", "c"), False), (("a", "c"), False)]
)
def test_rows_are_conserved_only_where_they_are_the_manifests(names: tuple[str, ...], passed: bool) -> None:
    rows = [row(name) for name in names]
    finding = evaluate("rows_conserved", rows, manifest("a", "b"), STORES)
    assert finding.passed is passed
    if not passed:
        lost = [finding.metadata[name].value for name in ("missing", "unexpected")]
        assert lost == [sorted({"a", "b"} - set(names)), sorted(set(names) - {"a", "b"})]


def test_a_row_that_stands_twice_is_no_conserved_row() -> None:
    assert not evaluate("rows_conserved", [row("a"), row("a")], manifest("a"), STORES).passed


def test_errors_are_counted_and_named() -> None:
    bad = replace(row("b", Status.ERROR), error_class="DecodeError", error_message="b.png is empty")
    finding = evaluate("no_errors", [row("a"), bad], manifest("a", "b"), STORES)
    assert not finding.passed
    (record,) = failing_images(finding)
    assert record.data["why"] == "DecodeError: b.png is empty"


def test_a_fallback_warns_with_its_reason() -> None:
    finding = evaluate(
        "models_as_configured", [row("a", fallbacks=["x instead of y"])], manifest("a"), STORES
    )
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.WARN)
    assert "x instead of y" in str(finding.description)
    assert evaluate("models_as_configured", [row("a")], manifest("a"), STORES).passed


REVIEW = {"verdict": "accepted", "by": "ann", "at": "2026-03-01", "note": "", "number": 1, "before": {}}


def test_failures_come_worst_first_and_errors_before_warnings() -> None:
    rows = [
        row("slight", checks=[verdict("psnr_y_min_db", 29.0, 30.0, passed=False)]),
        row("warned", checks=[verdict("psnr_y_min_db", 3.0, 30.0, passed=False, severity="warn")]),
        row("gross", checks=[verdict("psnr_y_min_db", 12.0, 30.0, passed=False)]),
    ]
    finding = evaluate("psnr", rows, manifest("slight", "warned", "gross"), STORES)
    assert [one.data["image"] for one in failing_images(finding)] == [
        "gross",
        "slight",
        "warned",
    ]


def test_what_a_person_accepted_passes_and_is_counted() -> None:
    failed = [verdict("psnr_y_min_db", 12.0, 30.0, passed=False)]
    accepted = row("a", checks=failed, review=REVIEW)
    finding = evaluate("psnr", [accepted], manifest("a"), STORES)
    assert finding.passed
    assert finding.metadata["images_accepted_in_review"].value == 1
    assert finding.metadata["psnr_y_min_db_worst"].value == 12.0
    assert "1 accepted in review" in str(finding.description)
    finding = evaluate("psnr", [accepted, row("b", checks=failed)], manifest("a", "b"), STORES)
    assert (finding.passed, finding.metadata["images_failed"].value) == (False, 1)


def test_a_rejected_image_waits_until_somebody_decides() -> None:
    waiting = replace(row("a", Status.REJECTED), reasons=("no subject found",), stage_failed="matted_images")
    finding = evaluate("none_waiting", [waiting, row("b")], manifest("a", "b"), STORES)
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.WARN)
    (record,) = failing_images(finding)
    assert (record.data["image"], record.data["why"]) == ("a", "no subject found")
    decided = row("a", Status.REJECTED, review={**REVIEW, "verdict": "rejected"})
    finding = evaluate("none_waiting", [decided], manifest("a"), STORES)
    assert (finding.passed, finding.metadata["images_rejected"].value) == (True, 1)


def test_a_gallery_shows_exactly_the_images_that_fail_this_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def note(self: Gallery, name: str, shown: list[Shown]) -> dict[str, Any]:
        asked.append((name, [one.image_id for one in shown]))
        return {}

    monkeypatch.setattr(Gallery, "metadata", note)
    gallery = Gallery(Settings(), STORES, "00000")
    rows = [
        row("good", checks=[verdict("ssim_y_min", 0.99, 0.9, passed=True)]),
        row(
            "twice",
            checks=[
                verdict("ssim_y_min", 0.8, 0.9, passed=False),
                verdict("ssim_y_half_min", 0.1, 0.9, passed=False),
            ],
        ),
        row("once", checks=[verdict("ssim_y_min", 0.5, 0.9, passed=False)]),
        replace(row("broken", Status.ERROR), error_class="DecodeError", error_message="empty"),
    ]
    names = manifest("good", "twice", "once", "broken")
    evaluate("ssim", rows, names, STORES, gallery)
    evaluate("psnr", rows, names, STORES, gallery)
    evaluate("no_errors", rows, names, STORES, gallery)
    evaluate("none_waiting", rows, names, STORES, gallery)
    assert asked == [("failing_pictures", ["twice", "once"]), ("failing_pictures", ["broken"])]
