"""What a reviewer is: it judges the pictures of one image; and the effect of its verdict on the row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import before, without_verdict

if TYPE_CHECKING:
    from imgpipe.images.image import Image

#: Key of a quality row's ``details``, and of quality.json, that holds a reviewer's verdict.
MACHINE_REVIEW = "machine_review"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Issue(_Frozen):
    """One fault. ``kind``: a word as in ``extra_limb``. ``box``: x, y, width, height, px of the result."""

    kind: str
    description: str
    box: tuple[int, int, int, int] | None = None


class Review(_Frozen):
    """The verdict on one image.

    ``unreviewed``: nobody judged it, and ``reason`` says why; it never counts as ``pass``. ``settled``:
    asking again about the same pictures would say the same. ``key``: digest of the pictures and of the
    reviewer with its model and prompt. ``cost_usd``: of the answer, ``None`` where the model has no price.
    """

    verdict: Literal["pass", "fail", "unreviewed"]
    reason: str
    reviewer: str
    key: str = ""
    settled: bool = True
    issues: tuple[Issue, ...] = ()
    model: str = ""
    prompt_version: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One image to judge.

    ``row``: its quality row, without any verdict of a person or a reviewer. ``size``: of the result, px.
    ``pictures``: decodes result and source, opaque 8-bit sRGB over a checkerboard, the longest side as given,
    px; raises one of :data:`~imgpipe.errors.PER_IMAGE_ERRORS`.
    """

    key: str
    row: ImageRow
    size: tuple[int, int]
    pictures: Callable[[int], tuple[Image, Image]]


class Reviewer(Protocol):
    """Judges images, several at once; ``review`` never raises for what one image or the network does.

    ``identity``: verdicts of equal identity about equal pictures are interchangeable. ``paid``: a verdict
    costs time or money, so it is kept, and images that are rejected already are not asked about.
    """

    identity: str
    paid: bool
    concurrency: int

    def review(self, subject: Subject) -> Review: ...


def review_of(row: ImageRow) -> Review | None:
    """The reviewer's verdict that a row records."""
    said = row.details.get(MACHINE_REVIEW)
    if said is None:
        return None
    return Review.model_validate({name: value for name, value in said.items() if name != "before"})


def with_review(row: ImageRow, review: Review | None, asset: str) -> ImageRow:
    """The row with the reviewer's verdict and no person's; with ``None``, without either.

    Failed: ``rejected`` at ``asset``, unless it was already. Unreviewed: a warning among the reasons. The
    same object where the verdict is recorded already.
    """
    if row.details.get(MACHINE_REVIEW) is None and review is None:
        return row
    plain = without_verdict(without_verdict(row), MACHINE_REVIEW)
    if review is None:
        return plain
    said = {**review.model_dump(mode="json"), "before": before(plain)}
    if row.details.get(MACHINE_REVIEW) == said:
        return row
    reviewed = replace(plain, details={**plain.details, MACHINE_REVIEW: said})
    if review.verdict == "unreviewed":
        return replace(reviewed, reasons=(*plain.reasons, f"warning: not reviewed: {review.reason}"))
    if review.verdict == "fail" and plain.status is Status.OK:
        return replace(
            reviewed,
            status=Status.REJECTED,
            stage_failed=asset,
            reasons=(f"failed in review by {review.reviewer}", review.reason, *plain.reasons),
        )
    return reviewed
