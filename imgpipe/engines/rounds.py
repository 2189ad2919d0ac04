"""Items computed by processes elsewhere, which may be lost: in rounds, until each has its row.

Items are given out in chunks. A chunk whose process is lost has no answer, and its images are given out again
in the next round, in chunks an eighth as large. So an image that ends its process is alone in the end, and
gets an error row; its neighbours do not. To compute an image twice does no harm: the same files are written
again, and the row is that of the writing that was answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from imgpipe.engines.local import error_row
from imgpipe.engines.work import WorkItem
from imgpipe.errors import ClusterUnavailable, ImgpipeError, WorkerLost
from imgpipe.records import ImageRow

log = logging.getLogger(__name__)

#: How much smaller chunks are in the next round.
_FINER = 8
#: Images of the last chunks of a round, at most.
_LAST = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one chunk: the rows of its finished images and, where one stops the run, the error."""

    rows: tuple[ImageRow, ...]
    error: ImgpipeError | None = None


Item = TypeVar("Item")
Chunk = Sequence[WorkItem]
#: Computes chunks; answers come in any order, one for each chunk whose process was not lost.
Pool = Callable[[Sequence[Chunk]], Generator[Answer, None, None]]


def run_in_rounds(
    pool: Pool, asset: str, items: Sequence[WorkItem], size: int, on_row: Callable[[ImageRow], None]
) -> list[ImageRow]:
    """Compute all items; rows in the order of ``items``, exactly one each. ``size``: images of a chunk.

    ``on_row`` hears of every row as it comes. Raises what stopped a chunk, after its finished rows were
    heard, whatever the pool raises, and :class:`ClusterUnavailable` where several images were given out and
    none came back.
    """
    rows: dict[str, ImageRow] = {}
    left = list(items)
    while left:
        with closing(pool(chunks_of(left, size))) as answers:
            for answer in answers:
                for row in answer.rows:
                    rows[row.image_id] = row
                    on_row(row)
                if answer.error is not None:
                    raise answer.error
        left = [item for item in left if item.base.image_id not in rows]
        if left and size == 1:
            _give_up(left, rows, asset, on_row)
            break
        size = max(1, size // _FINER)
        if left:
            log.warning(
                "%s: workers were lost with %d images, which are given out again, %d at a time",
                asset,
                len(left),
                size,
            )
    return [rows[item.base.image_id] for item in items]


def chunks_of(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """``size`` items each at most, a quarter of what is left towards the end and eight at last, so that no
    worker has much left when the others have nothing."""
    chunks: list[Sequence[Item]] = []
    start = 0
    while start < len(items):
        end = start + min(size, max(_LAST, (len(items) - start) // 4))
        chunks.append(items[start:end])
        start = end
    return chunks


def _give_up(
    left: Sequence[WorkItem], rows: dict[str, ImageRow], asset: str, on_row: Callable[[ImageRow], None]
) -> None:
    if not rows and len(left) > 1:
        raise ClusterUnavailable(
            f"{asset}: {len(left)} images were given to workers, each alone in the end, and every worker was "
            "lost; look for the reason in the logs of Ray's workers "
            "(/tmp/ray/session_latest/logs on the nodes)"
        )
    for item in left:
        lost = WorkerLost(
            f"{item.base.source_key}: the worker process that computed it alone ended without an answer: "
            "killed, out of memory or crashed; look in the logs of Ray's workers, or exclude the image"
        )
        rows[item.base.image_id] = row = error_row(item.base, asset, lost)
        on_row(row)
