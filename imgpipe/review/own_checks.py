"""The offline reviewer: its verdict follows from the checks that imgpipe made itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imgpipe.review.reviewers import Issue, Review, Subject

#: Beginning of a threshold's name -> the entry of ``artifacts_detected`` that has the places.
_PLACES = {"lines_": "lines", "edge_pixel_loss_": "edge_pixel_loss"}
_BOXES = 5


class ChecksReviewer:
    """``fail`` where a check of severity ``error`` failed, ``unreviewed`` where none could be measured."""

    identity = "checks/1"
    paid = False
    concurrency = 1

    def review(self, subject: Subject) -> Review:
        checks = [check for check in subject.row.details.get("checks", ()) if check["value"] is not None]
        if not checks:
            reason = "no check could be measured"
            return Review(verdict="unreviewed", reason=reason, reviewer="checks", key=subject.key)
        failed = [check for check in checks if not check["passed"] and check["severity"] != "info"]
        severe = [check["message"] for check in failed if check["severity"] == "error"]
        return Review(
            verdict="fail" if severe else "pass",
            reason="; ".join(severe) or f"{len(checks)} checks measured, none of them rejects",
            reviewer="checks",
            key=subject.key,
            issues=tuple(issue for check in failed for issue in _issues(check, subject)),
        )


def _issues(check: Mapping[str, Any], subject: Subject) -> Iterator[Issue]:
    place = next((place for start, place in _PLACES.items() if check["name"].startswith(start)), None)
    boxes: list[Mapping[str, Any]] = []
    factor = 1.0
    if place is not None:
        document = subject.document()
        boxes = document["artifacts_detected"][place]["boxes"][:_BOXES]
        if place == "edge_pixel_loss":  # Its boxes are px of the source.
            factor = document["dimensions_after"][0] / document["dimensions_before"][0]
    for box in boxes or (None,):
        sides = box and tuple(round(box[side] * factor) for side in ("x", "y", "width", "height"))
        yield Issue(kind=check["name"], description=check["message"], box=sides)
