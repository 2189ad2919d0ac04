"""The list of new sources that do not fill a shard yet, and the shards that its writer was about to write."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from imgpipe.errors import ObjectDamaged, ObjectMissing, ObjectUnreadable
from imgpipe.records import SourceObject
from imgpipe.storage import keys
from imgpipe.storage.parquet import from_parquet, to_parquet
from imgpipe.storage.store import ImageStore

_LOG = logging.getLogger(__name__)


@dataclass
class Waiting:
    """``seen``: source key -> (object, when it was first seen).

    ``tick`` is the number of the scan that wrote this, ``touched`` the shards that it was about to write,
    ``next_index`` the number of sealed shards that it knew of. A scan that died is found by them.
    """

    seen: dict[str, tuple[SourceObject, datetime]] = field(default_factory=dict)
    tick: int = 0
    touched: tuple[str, ...] = ()
    next_index: int = 0

    def add(self, found: SourceObject, now: datetime) -> None:
        """Add a new source, or its new version; the time at which it was first seen stays."""
        before = self.seen.get(found.key)
        self.seen[found.key] = (found, before[1] if before else now)

    def remove(self, names: Iterable[str]) -> None:
        """Remove sources that were sealed, or deleted before they were."""
        for name in list(names):
            self.seen.pop(name, None)

    def due(self, max_wait_seconds: float) -> datetime | None:
        """When the first of them has waited long enough; ``None`` where none waits."""
        first = min((since for _, since in self.seen.values()), default=None)
        return None if first is None else first + timedelta(seconds=max_wait_seconds)

    def take(self, count: int) -> list[SourceObject]:
        """Remove the ``count`` sources that have waited longest; returns them in key order."""
        oldest = sorted(self.seen.values(), key=lambda item: (item[1], item[0].key))[:count]
        for found, _ in oldest:
            del self.seen[found.key]
        return sorted((found for found, _ in oldest), key=lambda found: found.key)


def read_waiting(output: ImageStore, dataset: str) -> Waiting:
    """What the last scan left; empty where there was none, or a damaged one: its sources are found again."""
    import pyarrow as pa

    key = keys.waiting_key(dataset)
    try:
        table, facts = from_parquet(output.read(key), output.uri(key))
    except ObjectMissing:
        return Waiting()
    except ObjectDamaged as exc:
        _LOG.warning("%s; the sources that waited are found again", exc)
        return Waiting()
    try:
        seen = {
            row["source_key"]: (
                SourceObject(row["source_key"], row["size_bytes"], row["etag"]),
                datetime.fromtimestamp(row["seen_at"], UTC),
            )
            for row in table.to_pylist()
        }
        return Waiting(
            seen,
            int(facts["imgpipe.tick"]),
            tuple(json.loads(facts["imgpipe.touched"])),
            int(facts["imgpipe.next_index"]),
        )
    except (KeyError, ValueError, pa.ArrowException) as exc:
        raise ObjectUnreadable(
            f"{output.uri(key)}: expected a list of waiting sources ({exc!r}); delete it, "
            "they are found again"
        ) from exc


def write_waiting(output: ImageStore, dataset: str, waiting: Waiting) -> None:
    """Replace the list."""
    import pyarrow as pa

    values = list(waiting.seen.values())
    table = pa.table(
        {
            "source_key": pa.array([found.key for found, _ in values], pa.string()),
            "size_bytes": pa.array([found.size_bytes for found, _ in values], pa.int64()),
            "etag": pa.array([found.etag for found, _ in values], pa.string()),
            "seen_at": pa.array([since.timestamp() for _, since in values], pa.float64()),
        }
    )
    facts = {
        "imgpipe.tick": str(waiting.tick),
        "imgpipe.touched": json.dumps(waiting.touched),
        "imgpipe.next_index": str(waiting.next_index),
    }
    output.write(keys.waiting_key(dataset), to_parquet(table.replace_schema_metadata(facts)), overwrite=True)
