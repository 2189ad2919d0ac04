"""The images of a data set that are in one state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from imgpipe.config import Settings
from imgpipe.review.queue import read_queue
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows


class ImageState(StrEnum):
    """A verdict's status, or ``review``: it waits for a decision, or ``pending``: there is no verdict yet."""

    OK = "ok"
    REJECTED = "rejected"
    ERROR = "error"
    SKIPPED = "skipped"
    REVIEW = "review"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Listed:
    """``why``: reasons or error, in words; empty where there are none."""

    source: str
    image_id: str
    shard: str
    why: str = ""


def images_in(settings: Settings, output: ImageStore, state: ImageState) -> Iterator[Listed]:
    """Those images, by shard; shards whose manifest cannot be read have none.

    A verdict on another version of the source is none.
    """
    if state is ImageState.REVIEW:
        for item in read_queue(output, settings.dataset, [step.asset for step in steps(settings)]):
            yield Listed(item.source_key, item.image_id, item.shard, "; ".join(item.reasons))
        return
    sealed = SealedShards(output, settings.dataset)
    for shard in sealed.facts:
        rows = read_intact_rows(output, QUALITY, settings.dataset, shard) or {}
        for entry in read_manifest(output, settings.dataset, shard).entries:
            row = rows.get(entry.image_id)
            judged = row is not None and row.etag == entry.etag
            if state is ImageState.PENDING and not judged and entry.present:
                yield Listed(entry.source_key, entry.image_id, shard)
            elif row is not None and judged and row.status.value == state:
                yield Listed(entry.source_key, entry.image_id, shard, row.why)
