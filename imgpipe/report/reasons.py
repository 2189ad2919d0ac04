"""Reasons why images were rejected, failed or were warned about, with their counts, as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import cast

from imgpipe.records import Status
from imgpipe.report.frame import PageContent, failed_checks
from imgpipe.report.metrics import describe, is_upper_bound, metric_of
from imgpipe.report.payload import count_texts

_LISTED_REASONS = 20
#: Reasons in the order in which they are listed.
_KINDS = ("rejected", "error", "warn", "skipped")
#: The page's script has the same expression (``matchesReason``).
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class _Reason:
    """``shows``: the filter that the page's script applies; ``kind``: one of :data:`_KINDS`."""

    shows: str
    kind: str
    label: str
    count: int
    extra: str


def reasons(content: PageContent) -> str:
    """Every reason with its count; each is a button that shows its images in the table."""
    found = [
        *_check_reasons(content),
        *_stage_reasons(content),
        *_error_reasons(content),
        *_unreviewed(content),
    ]
    if not found:
        return "<p>No image was rejected, failed or was warned about.</p>"
    found.sort(key=lambda reason: (_KINDS.index(reason.kind), -reason.count))
    return f'<ul class="reasons">{"".join(map(_reason_item, found))}</ul>'


def _check_reasons(content: PageContent) -> Iterable[_Reason]:
    failed = content.checks[~content.checks["passed"] & (content.checks["severity"] != "info")]
    counts = failed.groupby(["name", "severity"]).size().sort_values(ascending=False)
    for found, count in counts.items():
        name, severity = cast("tuple[str, str]", found)
        kind, extra = ("rejected", "rejects") if severity == "error" else ("warn", "warning")
        yield _Reason(f"check:{name}", kind, _check_label(name), int(count), extra)


def _stage_reasons(content: PageContent) -> Iterable[_Reason]:
    """Rejections by stages before the last, grouped by their text without its numbers."""
    words = count_texts(
        f"{line.final.stage_failed}\n{_NUMBER.sub('…', line.final.reasons[0])}"
        for line in content.lines
        if line.final.status is Status.REJECTED and line.final.reasons and not failed_checks(line.final)
    )
    for text, count in words[:_LISTED_REASONS]:
        stage, _, said = text.partition("\n")
        yield _Reason(f"text:{said}", "rejected", said, count, f"in {stage.replace('_', ' ')}")


def _error_reasons(content: PageContent) -> Iterable[_Reason]:
    rows = [line.final for line in content.lines if line.final.error_class]
    for text, count in count_texts(f"{row.error_class}\n{row.stage_failed}" for row in rows):
        error, _, stage = text.partition("\n")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", error).lower()
        yield _Reason(f"error:{error}", "error", words, count, f"in {stage.replace('_', ' ')}")
    skipped = sum(1 for line in content.lines if line.final.status is Status.SKIPPED)
    if skipped:
        yield _Reason("status:skipped", "skipped", "source was deleted", skipped, "")


def _unreviewed(content: PageContent) -> Iterable[_Reason]:
    """Images that a reviewer left without a verdict."""
    count = sum("warning: not reviewed" in "\n".join(line.final.reasons) for line in content.lines)
    if count:
        yield _Reason("text:not reviewed", "warn", "not reviewed", count, "by the reviewer")


def _reason_item(reason: _Reason) -> str:
    return (
        f'<li><button type="button" data-reason="{escape(reason.shows, quote=True)}">'
        f'<span class="dot {reason.kind}"></span><b class=num>{reason.count:,}</b> '
        f"<span>{escape(reason.label)}</span> <small>{escape(reason.extra)}</small></button></li>"
    )


def _check_label(name: str) -> str:
    return f"{describe(metric_of(name)).label} {'too high' if is_upper_bound(name) else 'too low'}"
