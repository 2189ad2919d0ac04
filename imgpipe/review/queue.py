"""The images that need a decision, found by comparing decisions with the existing tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imgpipe.errors import ObjectUnreadable
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import Decisions, decision_digests, read_decisions
from imgpipe.review.decisions import (
    REPLACED,
    REVIEW,
    Decision,
    Verdict,
    replacement_for,
    subject_sha256,
    verdict_on,
)
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.source_names import SourceName, not_found
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_meta, read_standing

_LOG = logging.getLogger(__name__)
_BAD = (Status.REJECTED, Status.ERROR)


class State(StrEnum):
    """``waiting``: nobody has decided about this result. ``pending``: decided, and the next run applies it.
    ``decided``: applied."""

    WAITING = "waiting"
    PENDING = "pending"
    DECIDED = "decided"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One image of the queue.

    ``rows``: by asset, in chain order. ``histories``: all decisions about it, by asset, oldest first.
    """

    dataset: str
    shard: str
    rows: Mapping[str, ImageRow]
    histories: Mapping[str, tuple[Decision, ...]]

    @property
    def final(self) -> ImageRow:
        """The row of the last asset."""
        return list(self.rows.values())[-1]

    @property
    def image_id(self) -> str:
        return self.final.image_id

    @property
    def source_key(self) -> str:
        return self.final.source_key

    @property
    def asset(self) -> str:
        """The one that rejected or failed it, else the last one."""
        stopped = self.final.status in _BAD and self.final.stage_failed in self.rows
        return self.final.stage_failed if stopped else list(self.rows)[-1]

    @property
    def state(self) -> State:
        if not all(map(self._is_applied, self.histories)):
            return State.PENDING
        history = self.histories.get(self.asset, ())
        undecided = verdict_on(history, self.subject(self.asset)) is None
        return State.WAITING if self.final.status in _BAD and undecided else State.DECIDED

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is in the queue, in words."""
        row = self.final
        return row.reasons or ((row.why,) if row.why else ())

    @property
    def history(self) -> tuple[Decision, ...]:
        every = [decision for each in self.histories.values() for decision in each]
        return tuple(sorted(every, key=lambda decision: (decision.at, decision.number)))

    @property
    def outdated(self) -> Decision | None:
        """The last decision about an earlier result, where the current one is waiting."""
        if self.state is not State.WAITING:
            return None
        past = [
            each[-1]
            for asset, each in self.histories.items()
            if each[-1].verdict is not Verdict.WITHDRAWN and not self.holding(asset)
        ]
        return max(past, key=lambda decision: decision.at, default=None)

    def holding(self, asset: str) -> tuple[Decision, ...]:
        """The decisions at ``asset`` that are in force: about its result, and the file in its place."""
        history, before = self.histories.get(asset, ()), self.before(asset)
        replaced = None if before is None else replacement_for(history, before.output_sha256)
        verdict = verdict_on(history, self.subject(asset))
        return tuple(decision for decision in (replaced, verdict) if decision is not None)

    def subject(self, asset: str) -> str:
        """sha256 that a verdict at ``asset`` would apply to; empty where there is nothing to judge."""
        row = self.rows.get(asset)
        if row is None:
            return ""
        scores = asset == list(self.rows)[-1] and "checks" in row.details
        return subject_sha256(row, self.before(asset) if scores else None)

    def before(self, asset: str) -> ImageRow | None:
        """The row of the asset that ``asset`` reads from; ``None`` for the first."""
        names = list(self.rows)
        place = names.index(asset) if asset in names else 0
        return self.rows[names[place - 1]] if place else None

    def _is_applied(self, asset: str) -> bool:
        """Whether the row shows the last decisions about its picture."""
        row, before, history = self.rows.get(asset), self.before(asset), self.histories[asset]
        if row is None or before is None:
            return True
        replacement = replacement_for(history, before.output_sha256)
        if replacement is not None or REPLACED in row.details:
            expected = None if replacement is None else replacement.number
            if row.details.get(REPLACED, {}).get("number") != expected:
                return False
        if row.status is Status.ERROR or not row.stage_hash:
            return True
        verdict = verdict_on(history, self.subject(asset))
        shown = row.details.get(REVIEW, {}).get("number")
        return bool(shown == (None if verdict is None else verdict.number))

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        row = self.final
        return {
            "image_id": row.image_id,
            "source_key": row.source_key,
            "dataset": self.dataset,
            "shard": self.shard,
            "asset": self.asset,
            "status": row.status.value,
            "state": self.state.value,
            "reasons": list(self.reasons),
            "outdated": self.outdated is not None,
            "history": [decision.as_dict() for decision in self.history],
        }


def read_queue(
    output: ImageStore, dataset: str, assets: Sequence[str], *, everything: bool = False
) -> Iterator[QueueItem]:
    """Iterate over the waiting images, shard by shard; with ``everything`` also over decided ones.

    ``assets``: names of the chain's tables in order, the last one scores. Of a shard, the tables that
    exist are read.
    """
    digests = decision_digests(output, dataset)
    for shard in list_shards(output, dataset):
        reviewed = [asset for asset in assets if (asset, shard) in digests]
        try:
            if not reviewed and _all_good(output, dataset, shard, assets[-1]):
                continue
            tables = read_standing(output, assets, dataset, shard)
        except ObjectUnreadable as exc:
            _LOG.warning("shard %s is left out of the review queue: %s", shard, exc)
            continue
        if not tables:
            continue
        decided = {asset: read_decisions(output, dataset, asset, shard) for asset in reviewed}
        for image_id in next(iter(tables.values())):
            item = _item(dataset, shard, image_id, tables, decided)
            in_queue = item.final.status in _BAD or item.histories
            if in_queue and (everything or item.state is not State.DECIDED):
                yield item


def find_image(output: ImageStore, dataset: str, assets: Sequence[str], name: str) -> QueueItem:
    """One image, also one that is good; raises :class:`ConfigError` where no table has it.

    ``name``: as a person gives it, see :mod:`imgpipe.storage.source_names`.
    """
    wanted = SourceName(output, dataset, name)
    for shard in list_shards(output, dataset):
        tables = read_standing(output, assets, dataset, shard)
        first = next(iter(tables.values()), {})
        image_id = wanted.find((row.image_id, row.source_key) for row in first.values())
        if image_id is not None:
            decided = {asset: read_decisions(output, dataset, asset, shard) for asset in assets}
            return _item(dataset, shard, image_id, tables, decided)
    raise not_found(name, f"no table of data set {dataset!r} in {output.url}", wanted.similar)


def _all_good(output: ImageStore, dataset: str, shard: str, asset: str) -> bool:
    """Whether the footer of a shard's last table says that no image was rejected or failed."""
    meta = read_meta(output, asset, dataset, shard)
    if meta is None or "counts" not in meta:
        return False
    counts = json.loads(meta["counts"])
    return not any(counts[status.value] for status in _BAD)


def _item(
    dataset: str,
    shard: str,
    image_id: str,
    tables: Mapping[str, Mapping[str, ImageRow]],
    decided: Mapping[str, Decisions],
) -> QueueItem:
    rows = {asset: table[image_id] for asset, table in tables.items() if image_id in table}
    histories = {asset: each.of(image_id) for asset, each in decided.items() if each.of(image_id)}
    return QueueItem(dataset, shard, rows, histories)
