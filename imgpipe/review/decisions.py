"""Decisions about a picture, as frozen values, and their effect on its row.

A decision applies to bytes: an image stays accepted as long as its result has the same sha256. When the
result changes, the decision stays in the history and the image is queued again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from imgpipe.records import ImageRow, Status

#: Key of a row's ``details`` that holds the decision in force, and of quality.json.
REVIEW = "review"
#: Key of a row's ``details`` that records that a person provided its picture.
REPLACED = "replaced"


class Verdict(StrEnum):
    """What was decided. ``withdrawn`` takes back the decision before it."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPLACED = "replaced"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry of an image's history at one asset.

    ``number``: 1, 2, ... in the order in which they were made. ``at``: UTC, ISO 8601. ``reasons``: what the
    row said when it was decided. ``output_sha256``: the result that was judged; ``input_sha256``: the
    input of the asset's stage. ``file_key``, ``file_sha256``: the file that replaces the
    stage's output, for :attr:`Verdict.REPLACED`.
    """

    dataset: str
    asset: str
    shard: str
    image_id: str
    number: int
    verdict: Verdict
    by: str
    at: str
    input_sha256: str
    output_sha256: str
    note: str = ""
    reasons: tuple[str, ...] = ()
    file_key: str = ""
    file_sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "verdict": self.verdict.value, "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Decision:
        """The inverse of :meth:`as_dict`; raises KeyError, TypeError or ValueError for anything else."""
        known = {**value, "verdict": Verdict(value["verdict"]), "reasons": tuple(value["reasons"])}
        return cls(**known)

    @property
    def made(self) -> dict[str, Any]:
        """By whom, when, and why, as rows record it."""
        return {"by": self.by, "at": self.at, "note": self.note, "number": self.number}

    @property
    def said(self) -> str:
        """As in ``accepted by ann on 2026-03-01: the seam is in the source``."""
        text = f"{self.verdict.value} by {self.by} on {self.at[:10]}"
        return f"{text}: {self.note}" if self.note else text


def subject_sha256(row: ImageRow, scored: ImageRow | None = None) -> str:
    """sha256 that a verdict on a row applies to: of its picture, or of the one of ``scored`` that it scores.

    For an error, which has no picture: a digest of the source's version and the error. Empty where the
    step produced and judged nothing.
    """
    if row.status is Status.ERROR:
        text = f"{row.source_key}\n{row.etag}\n{row.stage_failed}\n{row.error_class}"
        return hashlib.sha256(text.encode()).hexdigest()
    if not row.stage_hash or row.status is Status.SKIPPED:
        return ""
    return row.output_sha256 if scored is None else scored.output_sha256


def verdict_on(history: Iterable[Decision], output_sha256: str) -> Decision | None:
    """The last decision about exactly these bytes; ``None`` where there is none or it was withdrawn."""
    about = [
        one for one in history if one.output_sha256 == output_sha256 and one.verdict is not Verdict.REPLACED
    ]
    last = about[-1] if about else None
    return None if last is None or last.verdict is Verdict.WITHDRAWN else last


def replacement_for(history: Iterable[Decision], input_sha256: str) -> Decision | None:
    """The decision whose file replaces a stage's output for this input; ``None`` where the stage runs."""
    ends = (Verdict.REPLACED, Verdict.WITHDRAWN)
    about = [one for one in history if one.input_sha256 == input_sha256 and one.verdict in ends]
    last = about[-1] if about else None
    return last if last is not None and last.verdict is Verdict.REPLACED else None


def with_verdict(row: ImageRow, decision: Decision | None, asset: str) -> ImageRow:
    """The row with the decision applied; with ``None``, the row without any decision.

    Accepted: ``ok``, the reasons stay as warnings. Rejected: ``rejected`` at ``asset``, with author and note
    among the reasons. The same object where nothing changes.
    """
    plain = without_verdict(row)
    if decision is None:
        return plain
    said = {"verdict": decision.verdict.value, **decision.made, "before": before(plain)}
    if row.details.get(REVIEW) == said:
        return row
    details = {**plain.details, REVIEW: said}
    if decision.verdict is Verdict.ACCEPTED:
        return replace(plain, status=Status.OK, stage_failed="", details=details)
    return replace(
        plain,
        status=Status.REJECTED,
        stage_failed=asset,
        reasons=(*plain.reasons, decision.said),
        details=details,
    )


def before(row: ImageRow) -> dict[str, Any]:
    """What a verdict changes in a row, for :func:`without_verdict`."""
    return {"status": row.status.value, "stage_failed": row.stage_failed, "reasons": list(row.reasons)}


def with_replacement(row: ImageRow, decision: Decision | None) -> ImageRow:
    """The row of a replaced picture with the author of its file; any other row unchanged."""
    if REPLACED not in row.details or decision is None:
        return row
    said = {**decision.made, "sha256": decision.file_sha256}
    return row if row.details[REPLACED] == said else replace(row, details={**row.details, REPLACED: said})


def without_verdict(row: ImageRow, key: str = REVIEW) -> ImageRow:
    """The row as it was before the verdict that ``key`` of its details records."""
    verdict = row.details.get(key)
    if verdict is None:
        return row
    plain = verdict["before"]
    return replace(
        row,
        status=Status(plain["status"]),
        stage_failed=plain["stage_failed"],
        reasons=tuple(plain["reasons"]),
        details={name: value for name, value in row.details.items() if name != key},
    )


def verdict_of(row: ImageRow) -> Verdict | None:
    """The verdict that a finished row records."""
    review = row.details.get(REVIEW)
    return None if review is None else Verdict(review["verdict"])
