"""What each check says of a finished table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckResult, AssetCheckSeverity, TableMetadataValue, TableRecord

from imgpipe.assets.findings import check_names, evaluate
from imgpipe.assets.gallery import Gallery, Shown
from imgpipe.cli.status import status
from imgpipe.config import Settings
from imgpipe.engines.rejections import count_causes
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.metrics import CHECKS, limits_by_check
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe_tests.review.space import Space

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
    assert (record.data["image"], record.data["value"], record.data["threshold"]) == ("b.png", 21.0, 30.0)
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
        assert lost == [
            sorted(f"{name}.png" for name in some)
            for some in ({"a", "b"} - set(names), set(names) - {"a", "b"})
        ]


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
        "gross.png",
        "slight.png",
        "warned.png",
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
    assert (record.data["image"], record.data["why"]) == ("a.png", "no subject found")
    decided = row("a", Status.REJECTED, review={**REVIEW, "verdict": "rejected"})
    finding = evaluate("none_waiting", [decided], manifest("a"), STORES)
    assert (finding.passed, finding.metadata["images_rejected"].value) == (True, 1)


def rejected_matte(name: str) -> ImageRow:
    said = "matte not sure (confidence 0.20, at least 0.6 needed): the picture's border is busy"
    return replace(row(name, Status.REJECTED), stage_failed="matted_images", reasons=(said,))


def test_rejected_mattes_fail_the_check_of_mattes_beside_the_scored_ones() -> None:
    good = row("good", checks=[verdict("components_max", 1.0, 6.0, passed=True, severity="warn")])
    finding = evaluate("matte", [good, rejected_matte("a")], manifest("good", "a"), STORES)
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.ERROR)
    assert "1 of 2 images failed" in str(finding.description)
    assert (finding.metadata["images_measured"].value, finding.metadata["images_failed"].value) == (2, 1)
    (record,) = failing_images(finding)
    assert (record.data["image"], record.data["check"]) == ("a.png", "matted_images")
    assert str(record.data["why"]).startswith("matte not sure")


@pytest.mark.parametrize("name", sorted(set(CHECKS) - {"matte"}))
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (rejected_matte("a"), "2 stopped earlier: 2 x matte not sure"),
        (replace(row("a", Status.ERROR), error_class="DecodeError"), "2 stopped earlier: 2 x error"),
    ],
)
def test_a_partition_where_nothing_came_to_be_scored_passes_no_score(
    name: str, bad: ImageRow, said: str
) -> None:
    rows = [bad, replace(bad, image_id="b", source_key="b.png"), row("gone", Status.SKIPPED)]
    finding = evaluate(name, rows, manifest("a", "b", "gone"), STORES)
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.WARN)
    assert said in str(finding.description)
    assert [one.data["image"] for one in failing_images(finding)] == ["a.png", "b.png"]
    deleted = [row("gone", Status.SKIPPED)]
    assert evaluate(name, deleted, manifest("gone"), STORES).passed
    scored = row("c", checks=[verdict(limits_by_check()[name][0], 1.0, 1.0, passed=True)])
    finding = evaluate(name, [bad, scored], manifest("a", "c"), STORES)
    assert finding.passed
    assert "0 of 1 image failed; 1 stopped earlier" in str(finding.description)


def test_the_share_of_rejected_images_has_a_threshold_on_every_asset() -> None:
    rows = [*(row(f"ok{n}") for n in range(3)), rejected_matte("a"), row("gone", Status.SKIPPED)]
    names = manifest(*(one.image_id for one in rows))
    for asset in ("raw_images", "matted_images", "upscaled_images", "quality_reports"):
        assert "rejected_share" in check_names(asset)
    for allowed, passed in ((0.2, False), (0.249, False), (0.25, True)):
        finding = evaluate("rejected_share", rows, names, STORES, max_rejected_share=allowed)
        assert (finding.passed, finding.severity) == (passed, AssetCheckSeverity.ERROR)
        assert finding.metadata["share"].value == 0.25
    assert finding.description == "1 of 4 images rejected (1 x matte not sure): 25.0%, allowed 25.0%"
    assert evaluate("rejected_share", [], manifest(), STORES).passed


def test_a_shard_whose_mattes_are_all_rejected_is_red_and_the_command_line_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stripes in every direction: no colour of the border holds, so the matte is not trusted."""
    waves = np.add.outer(np.arange(96) ** 2, np.arange(96) * 37) % 256
    for name in "ab":
        (tmp_path / "source").mkdir(exist_ok=True)
        striped = Image(np.repeat(waves[..., None], 3, axis=2).astype(np.uint8))
        (tmp_path / "source" / f"{name}.png").write_bytes(encode(striped))
    space = Space(str(tmp_path / "source"), str(tmp_path / "output"))
    space.run()
    settings, stores = space.settings(), space.stores
    manifested = read_manifest(stores.output, "art", "00000")
    failed = {}
    for asset in ("raw_images", "matted_images", "upscaled_images", "quality_reports"):
        rows = list(space.rows(asset).values())
        found = (evaluate(name, rows, manifested, stores) for name in check_names(asset))
        failed[asset] = {one.check_name for one in found if not one.passed}
    assert failed["raw_images"] == set()
    assert failed["matted_images"] == failed["upscaled_images"] == {"rejected_share"}
    assert failed["quality_reports"] == {*CHECKS, "rejected_share", "none_waiting"}
    assert status(settings) == 1
    assert "2 images: 0 ok, 2 rejected: 2 x matte not sure; 0 error, 0 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (rejected_matte("a"), "matte not sure"),
        (
            replace(row("a", Status.REJECTED), reasons=("no subject found", "network maximum 0.1")),
            "no subject found",
        ),
        (
            row(
                "a",
                Status.REJECTED,
                checks=[
                    verdict("components_max", 9, 6, passed=False, severity="warn"),
                    verdict("lines_step_max", 9, 1, passed=False),
                    verdict("psnr_y_min_db", 9, 20, passed=False),
                ],
            ),
            "no_lines",
        ),
        (row("a", Status.REJECTED, review={**REVIEW, "verdict": "rejected"}), "rejected in review"),
        (row("a", Status.REJECTED), "no reason recorded"),
    ],
)
def test_a_rejection_has_one_cause_in_a_few_words(one: ImageRow, cause: str) -> None:
    assert count_causes([one, row("b")]) == {cause: 1}


def test_a_gallery_shows_exactly_the_images_that_fail_this_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def note(self: Gallery, name: str, shown: list[Shown]) -> dict[str, Any]:
        asked.append((name, [one.source_key for one in shown]))
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
    evaluate(
        "rejected_share", [*rows, rejected_matte("unsure")], names, STORES, gallery, max_rejected_share=0
    )
    shown = [["twice.png", "once.png"], ["broken.png"], ["unsure.png"]]
    assert asked == [("failing_pictures", names) for names in shown]
