"""The offline reviewer: its verdict follows from the checks that imgpipe made itself."""

from __future__ import annotations

from imgpipe.review.reviewers import Issue, Review, Subject


class ChecksReviewer:
    """``fail`` where a check of severity ``error`` failed, ``unreviewed`` where none could be measured."""

    identity = "checks/1"
    paid = False
    concurrency = 1

    def review(self, subject: Subject) -> Review:
        checks = [check for check in subject.row.details.get("checks", ()) if check["value"] is not None]
        failed = [check for check in checks if not check["passed"] and check["severity"] != "info"]
        severe = [check["message"] for check in failed if check["severity"] == "error"]
        measured = f"{len(checks)} checks measured, none of them rejects"
        return Review(
            verdict="unreviewed" if not checks else "fail" if severe else "pass",
            reason="; ".join(severe) or (measured if checks else "no check could be measured"),
            reviewer="checks",
            key=subject.key,
            issues=tuple(Issue(kind=check["name"], description=check["message"]) for check in failed),
        )
