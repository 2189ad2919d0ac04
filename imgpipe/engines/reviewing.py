"""Has a shard's results judged by the configured reviewer. Paid verdicts are kept in the output."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

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

log = logging.getLogger(__name__)


def reviews_of(
    settings: Settings,
    reader: PictureReader,
    rows: Mapping[str, ImageRow],
    upstream: Mapping[str, Mapping[str, ImageRow]],
    decisions: Decisions,
) -> dict[str, Review]:
    """The verdict by image id on every scored image; none where review is off.

    ``rows``: of the last asset, by image id; ``upstream``: of the assets before. A verdict that a row records
    already is kept, as long as pictures and reviewer are the same. A paid reviewer is not asked about images
    that are rejected already or that a person has decided about.
    """
    reviewer = build_reviewer(settings.review, STOP.check)
    if reviewer is None:
        return {}
    work = _Reviewing(settings.dataset, reader, reviewer)
    found: dict[str, Review] = {}
    asked: list[Subject] = []
    for image_id, row in rows.items():
        if row.status not in (Status.OK, Status.REJECTED) or not row.output_key:
            continue
        plain = without_verdict(without_verdict(row), MACHINE_REVIEW)
        source, result = upstream[RAW][image_id], list(upstream.values())[-1][image_id]
        subject, known = work.subject(plain, source, result), review_of(row)
        decided = verdict_on(decisions.of(image_id), subject_sha256(plain, result)) is not None
        if reviewer.paid and known is not None and known.settled and known.key == subject.key:
            found[image_id] = known
        elif not reviewer.paid or (plain.status is Status.OK and not decided):
            asked.append(subject)
    return found | dict(work.verdicts(asked))


def unsettled(rows: Iterable[ImageRow]) -> int:
    """Images that stayed unreviewed and may be judged when the reviewer is asked again."""
    return sum(review is not None and not review.settled for review in map(review_of, rows))


@dataclass(frozen=True, slots=True)
class _Reviewing:
    dataset: str
    reader: PictureReader
    reviewer: Reviewer

    def subject(self, row: ImageRow, source: ImageRow, result: ImageRow) -> Subject:
        facts = [self.reviewer.identity, result.output_sha256, source.output_sha256]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return Subject(key, row, (result.width, result.height), partial(self._pictures, result, source))

    def verdicts(self, subjects: list[Subject]) -> Iterator[tuple[str, Review]]:
        """(image id, verdict) of all, as they come; raises Stopped on a request to stop."""
        pool = ThreadPoolExecutor(self.reviewer.concurrency, "imgpipe-reviewer")
        try:
            for job in as_completed([pool.submit(self._verdict, subject) for subject in subjects]):
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
