"""Applies what people and reviewers said to a shard: rows, replaced pictures, quality.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from imgpipe.config import Settings
from imgpipe.errors import ObjectChanged
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import Decisions
from imgpipe.review.deciding import Place
from imgpipe.review.decisions import (
    REVIEW,
    replacement_for,
    subject_sha256,
    verdict_on,
    with_replacement,
    with_verdict,
)
from imgpipe.review.reviewers import MACHINE_REVIEW, Review, with_review
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import Step, steps
from imgpipe.storage.store import ImageStore


def replaceable_places(settings: Settings) -> dict[str, Place]:
    """The assets whose pictures a person may replace, with the constraints on such a picture."""
    chain = [step.action for step in steps(settings)]
    return {
        action.asset: Place(
            cut_out=any(one.cut_out for one in chain[: place + 1]), same_size=action.same_size
        )
        for place, action in enumerate(chain)
        if action.replaceable
    }


def with_decisions(
    step: Step,
    row: ImageRow,
    decisions: Decisions,
    upstream: Mapping[str, Mapping[str, ImageRow]],
    output: ImageStore,
    review: Review | None = None,
) -> ImageRow:
    """The row with what was decided about its picture; the row itself where that changes nothing.

    ``review``: a reviewer's verdict on it; a person's decision counts more. Applies to results of this step
    only: errors, skipped rows and rows stopped earlier are returned as given.
    """
    if row.status not in (Status.OK, Status.REJECTED) or not row.stage_hash:
        return row
    history = decisions.of(row.image_id)
    scored = upstream[step.upstream[-1]][row.image_id] if step.asset == QUALITY else None
    reviewed = with_review(row, review, step.asset)
    decided = with_verdict(reviewed, verdict_on(history, subject_sha256(reviewed, scored)), step.asset)
    decided = with_replacement(decided, replacement_for(history, row.input_sha256))
    if decided is row or step.asset != QUALITY:
        return decided
    return with_document(decided, output)


def with_document(row: ImageRow, output: ImageStore) -> ImageRow:
    """Put the row's status, the decision and the reviewer's verdict into its quality.json."""
    before = output.read(row.output_key)
    if hashlib.sha256(before).hexdigest() != row.output_sha256:
        output.delete(row.output_key)
        raise ObjectChanged(
            f"{output.uri(row.output_key)}: expected the bytes that its row describes, it is damaged and was "
            "deleted; the next run makes it again"
        )
    document = json.loads(before)
    document |= {"status": row.status.value, "reasons": list(row.reasons)}
    for key in (REVIEW, MACHINE_REVIEW):
        document.pop(key, None)
        if key in row.details:
            document[key] = row.details[key]
    data = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
    output.write(row.output_key, data, overwrite=True)
    return replace(row, output_sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
