"""Stored decisions: one small object each, never overwritten, so that a history cannot lose an entry.

The key holds the entry's number. When two people decide about one image at the same time, the first write
takes the number and the second one raises :class:`ObjectExists`.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from imgpipe.errors import ConfigError, ObjectExists, ObjectUnreadable
from imgpipe.review.decisions import Decision
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

SCHEMA_VERSION = "1"
_READERS = 16


@dataclass(frozen=True, slots=True)
class Decisions:
    """All decisions about one asset's pictures of one shard: image -> history, oldest first.

    ``digest``: equal digests mean equal decisions; empty where there are none.
    """

    histories: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)
    digest: str = ""

    def of(self, image_id: str) -> tuple[Decision, ...]:
        """The history of one image, empty where there are no decisions."""
        return self.histories.get(image_id, ())


def read_decisions(output: ImageStore, dataset: str, asset: str, shard: str) -> Decisions:
    """The decisions of one shard; raises ObjectUnreadable for a file that is no decision."""
    found = [item.key for item in output.list(keys.decision_prefix(dataset, asset, shard))]
    names = [key for key in found if keys.decision_of(key) is not None]
    histories: dict[str, list[Decision]] = defaultdict(list)
    if names:
        with ThreadPoolExecutor(min(_READERS, len(names)), "imgpipe-review") as pool:
            for decision in pool.map(lambda key: _read(output, key), names):
                histories[decision.image_id].append(decision)
    return Decisions({name: tuple(each) for name, each in histories.items()}, _digest(names))


def decision_digests(output: ImageStore, dataset: str) -> dict[tuple[str, str], str]:
    """(asset, shard) -> :attr:`Decisions.digest` of all decisions of a data set, from one listing."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in output.list(keys.review_prefix(dataset)):
        place = keys.decision_of(item.key)
        if place is not None:
            names[place].append(item.key)
    return {place: _digest(found) for place, found in names.items()}


def record(output: ImageStore, decision: Decision, file: bytes | None = None) -> None:
    """Store a decision, after the file that it refers to.

    Raises ObjectExists where somebody else has decided about this image since its history was read.
    """
    if (file is None) != (decision.file_key == ""):
        raise ConfigError("a decision has a file exactly where it replaces a picture")
    if file is not None:
        output.write(decision.file_key, file, overwrite=True)
    key = keys.decision_key(
        decision.dataset, decision.asset, decision.shard, decision.image_id, decision.number
    )
    text = json.dumps({"schema_version": SCHEMA_VERSION, **decision.as_dict()}, indent=2)
    try:
        output.write(key, (text + "\n").encode())
    except ObjectExists as exc:
        raise ObjectExists(
            f"{output.uri(key)}: somebody else has just decided about {decision.image_id}; "
            "look at `imgpipe review list` and decide again"
        ) from exc


def _read(output: ImageStore, key: str) -> Decision:
    try:
        value = json.loads(output.read(key))
        version = value.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {version}")
        return Decision.from_dict(value)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ObjectUnreadable(
            f"{output.uri(key)}: expected a decision of version {SCHEMA_VERSION}: {exc}; "
            "remove the file or restore it"
        ) from exc


def _digest(names: list[str]) -> str:
    """Digest of the keys: entries are never overwritten, so equal keys mean equal decisions."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() if names else ""
