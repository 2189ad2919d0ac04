"""Has a shard's results judged by the configured reviewer. Paid verdicts are kept in the output."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from imgpipe.config import Settings
from imgpipe.engines.local import as_completed
from imgpipe.engines.stop import STOP
from imgpipe.errors import ObjectMissing
from imgpipe.images.image import Image
from imgpipe.pictures.reader import PictureReader
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import Decisions
from imgpipe.review.build import build_reviewer
from imgpipe.review.decisions import subject_sha256, verdict_on, without_verdict
from imgpipe.review.reviewers import MACHINE_REVIEW, Review, Reviewer, Subject, review_of
from imgpipe.stages.catalogue import RAW
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

log = logging.getLogger(__name__)

Tables = Mapping[str, Mapping[str, ImageRow]]


def reviews_of(
    settings: Settings,
    reader: PictureReader,
    rows: Mapping[str, ImageRow],
    upstream: Tables,
    decisions: Decisions,
) -> dict[str, Review]:
    """The verdict by image id on every scored image; none where review is off.

    ``rows``: of the last asset, by image id; ``upstream``: of the assets before. A verdict that a row records
    already is kept, as long as pictures and reviewer are the same. A paid reviewer is not asked about images
    that are rejected already or that a person has decided about.
    """
    reviewer = build_reviewer(settings.review, STOP.sleep)
    if reviewer is None:
        return {}
    work = _Reviewing(settings.dataset, reader, reviewer)
    found: dict[str, Review] = {}
    asked: list[Subject] = []
    for image_id, row in rows.items():
        if row.status not in (Status.OK, Status.REJECTED) or not row.output_key:
            continue
        plain = without_verdict(without_verdict(row), MACHINE_REVIEW)
        before = {asset: table[image_id] for asset, table in upstream.items()}
        subject, known = work.subject(plain, before), review_of(row)
        if reviewer.paid and known is not None and known.settled and known.key == subject.key:
            found[image_id] = known
        elif not reviewer.paid or (plain.status is Status.OK and not _decided(plain, before, decisions)):
            asked.append(subject)
    return found | dict(work.verdicts(asked))


def unsettled(rows: Iterable[ImageRow]) -> int:
    """Images that stayed unreviewed and may be judged when the reviewer is asked again."""
    reviews = map(review_of, rows)
    return sum(review is not None and not review.settled for review in reviews)


def _decided(row: ImageRow, before: Mapping[str, ImageRow], decisions: Decisions) -> bool:
    scored = list(before.values())[-1]
    return verdict_on(decisions.of(row.image_id), subject_sha256(row, scored)) is not None


@dataclass(frozen=True, slots=True)
class _Reviewing:
    dataset: str
    reader: PictureReader
    reviewer: Reviewer

    def subject(self, row: ImageRow, before: Mapping[str, ImageRow]) -> Subject:
        """``before``: the image's rows of the assets before, in chain order."""
        result, source = list(before.values())[-1], before[RAW]
        facts = [self.reviewer.identity, result.output_sha256, source.output_sha256]
        return Subject(
            key=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
            row=row,
            size=(result.width, result.height),
            document=lambda: _read_document(self.reader.output, row),
            pictures=partial(self._pictures, result, source),
        )

    def verdicts(self, subjects: list[Subject]) -> Iterator[tuple[str, Review]]:
        """(image id, verdict) of all, as they come; raises Stopped on a request to stop."""
        pool = ThreadPoolExecutor(self.reviewer.concurrency, "imgpipe-reviewer")
        jobs = [pool.submit(self._verdict, subject) for subject in subjects]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _verdict(self, subject: Subject) -> tuple[str, Review]:
        STOP.check()
        if not self.reviewer.paid:
            return subject.row.image_id, self.reviewer.review(subject)
        key = keys.verdict_key(self.dataset, subject.key)
        review = self._kept(key)
        if review is None:
            review = self.reviewer.review(subject)
            if review.settled:
                self.reader.output.write(key, review.model_dump_json(indent=2).encode(), overwrite=True)
        return subject.row.image_id, review

    def _kept(self, key: str) -> Review | None:
        try:
            return Review.model_validate_json(self.reader.output.read(key))
        except ObjectMissing:
            return None
        except ValidationError as exc:
            log.warning("%s is no verdict and is made again: %s", self.reader.output.uri(key), exc)
            return None

    def _pictures(self, result: ImageRow, source: ImageRow, max_side: int) -> tuple[Image, Image]:
        from imgpipe.report.thumbnails import area_thumbnail, fit_size

        def shown(row: ImageRow) -> Image:
            image = self.reader.read(row)
            return Image(area_thumbnail(image, fit_size(image.width, image.height, max_side)))

        return shown(result), shown(source)


def _read_document(output: ImageStore, row: ImageRow) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(output.read(row.output_key))
    return document
