"""Which decision is in force, and its effect on a row."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import (
    Decision,
    Verdict,
    replacement_for,
    subject_sha256,
    verdict_of,
    verdict_on,
    with_replacement,
    with_verdict,
    without_verdict,
)


def decision(
    number: int, verdict: Verdict, *, looked_at: str = "out", made_from: str = "in", note: str = ""
) -> Decision:
    place = ("art", "quality_reports", "00000", "girl-1")
    file = ("review/x.png", "f" * 64) if verdict is Verdict.REPLACED else ("", "")
    return Decision(
        *place,
        number,
        verdict,
        "ann",
        "2026-03-01T10:00:00+00:00",
        made_from,
        looked_at,
        note,
        ("blurred",),
        *file,
    )


ROW = ImageRow(
    "girl.png",
    "girl-1",
    "e",
    Status.REJECTED,
    stage_failed="quality_reports",
    reasons=("blurred",),
    output_sha256="out",
    stage_hash="h",
    details={"checks": []},
)
A, R, W, P = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.WITHDRAWN, Verdict.REPLACED


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((), None),
        ((decision(1, A),), A),
        ((decision(1, A), decision(2, R)), R),
        ((decision(1, A), decision(2, W)), None),
        ((decision(1, A), decision(2, W), decision(3, R)), R),
        ((decision(1, A, looked_at="other"),), None),
        # Another result was judged meanwhile; the decision about this one is still in force.
        ((decision(1, A), decision(2, R, looked_at="other")), A),
        ((decision(1, P),), None),
    ],
)
def test_the_last_word_about_these_bytes_counts(
    history: tuple[Decision, ...], expected: Verdict | None
) -> None:
    found = verdict_on(history, "out")
    assert (None if found is None else found.verdict) is expected


def test_a_replacement_stands_as_long_as_its_input_does() -> None:
    history = (decision(1, P), decision(2, P), decision(3, A))
    found = replacement_for(history, "in")
    assert found is not None
    assert found.number == 2
    assert replacement_for(history, "another input") is None
    assert replacement_for((*history, decision(4, W)), "in") is None
    assert replacement_for((*history, decision(4, W, made_from="another input")), "in") is found


def test_accepting_makes_the_row_good_and_keeps_its_reasons() -> None:
    row = with_verdict(ROW, decision(3, A, note="meant so"), "quality_reports")
    assert (row.status, row.stage_failed, row.reasons) == (Status.OK, "", ("blurred",))
    review = row.details["review"]
    assert (review["by"], review["number"], review["note"]) == ("ann", 3, "meant so")
    assert row.details["checks"] == []
    assert verdict_of(row) is A


def test_rejecting_says_who_and_why() -> None:
    good = replace(ROW, status=Status.OK, stage_failed="", reasons=())
    row = with_verdict(good, decision(1, R, note="six fingers"), "quality_reports")
    assert (row.status, row.stage_failed) == (Status.REJECTED, "quality_reports")
    assert row.reasons == ("rejected by ann on 2026-03-01: six fingers",)


@pytest.mark.parametrize("verdict", [A, R])
def test_taking_a_decision_back_gives_the_row_as_it_was(verdict: Verdict) -> None:
    row = with_verdict(ROW, decision(1, verdict), "quality_reports")
    assert row != ROW
    assert without_verdict(row) == ROW
    assert with_verdict(row, None, "quality_reports") == ROW


def test_applying_twice_changes_nothing_and_a_new_decision_starts_from_the_plain_row() -> None:
    once = with_verdict(ROW, decision(1, A), "quality_reports")
    assert with_verdict(once, decision(1, A), "quality_reports") is once
    again = with_verdict(once, decision(2, R), "quality_reports")
    assert again.details["review"]["before"]["status"] == "rejected"
    assert again.reasons == ("blurred", "rejected by ann on 2026-03-01")
    assert with_verdict(ROW, None, "quality_reports") is ROW


def test_only_a_replaced_row_says_whose_file_it_is() -> None:
    assert with_replacement(ROW, decision(1, P)) is ROW
    row = with_replacement(replace(ROW, details={"replaced": True}), decision(1, P))
    assert row.details["replaced"]["by"] == "ann"
    assert row.details["replaced"]["sha256"] == "f" * 64


def test_what_a_verdict_is_about() -> None:
    picture = replace(ROW, output_sha256="picture")
    assert subject_sha256(ROW) == "out"
    assert subject_sha256(ROW, picture) == "picture"
    assert subject_sha256(replace(ROW, status=Status.SKIPPED)) == ""
    assert subject_sha256(replace(ROW, stage_hash="")) == ""
    error = replace(ROW, status=Status.ERROR, error_class="DecodeError", stage_hash="")
    assert len(subject_sha256(error)) == 64
    assert subject_sha256(error) == subject_sha256(replace(error, attempts=7))
    assert subject_sha256(error) != subject_sha256(replace(error, etag="new version"))
    assert subject_sha256(error) != subject_sha256(replace(error, error_class="LimitExceeded"))


def test_a_decision_survives_json() -> None:
    one = decision(3, P, note="\u00e4 \u65e5\u672c")
    assert Decision.from_dict(json.loads(json.dumps(one.as_dict()))) == one
    with pytest.raises((KeyError, TypeError, ValueError)):
        Decision.from_dict({**one.as_dict(), "verdict": "maybe"})
