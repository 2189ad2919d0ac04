"""Why images were rejected, in a few words, for counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from imgpipe.metrics import LIMITS
from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import Verdict, verdict_of


def cause_of(row: ImageRow) -> str:
    """The cause of a rejection: a person, the first check that failed, or the beginning of the first reason.

    Stages begin a reason with its cause, up to a colon or a parenthesis.
    """
    if verdict_of(row) is Verdict.REJECTED:
        return "rejected in review"
    failed = (
        one for one in row.details.get("checks", ()) if not one["passed"] and one["severity"] == "error"
    )
    for check in failed:
        limit = LIMITS.get(check["name"])
        return check["name"] if limit is None else limit.check
    first = row.reasons[0] if row.reasons else "no reason recorded"
    return first.partition(":")[0].partition(" (")[0]


def count_causes(rows: Iterable[ImageRow]) -> dict[str, int]:
    """Rejected images by cause, the most frequent first."""
    return dict(Counter(cause_of(row) for row in rows if row.status is Status.REJECTED).most_common())


def causes_in_words(causes: Mapping[str, int]) -> str:
    """As in ``30 x matte not sure, 2 x psnr``."""
    ordered = sorted(causes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} x {cause}" for cause, count in ordered)
