"""All sealed shards of a data set, in memory that does not grow with its images.

Per shard only its facts are kept (key range, digest, counts): about 500 bytes. The entries of a range of keys
are read from the manifests whose own range overlaps it. Facts are remembered for the life of the process
and read again where a manifest's etag changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from imgpipe.errors import ObjectUnreadable
from imgpipe.records import SourceObject
from imgpipe.storage import keys
from imgpipe.storage.manifest_file import (
    ManifestFacts,
    SealedEntry,
    entries_between,
    facts_from_bytes,
)
from imgpipe.storage.store import ImageStore

_READERS = 16
#: Manifests whose bytes may be in memory at once.
_BATCH = 64

_known: dict[tuple[str, str], dict[str, tuple[str, ManifestFacts]]] = {}


class SealedShards:
    """The data set's sealed shards as they were when this object was made."""

    def __init__(self, output: ImageStore, dataset: str) -> None:
        self._output = output
        self.dataset = dataset
        found = list_manifests(output, dataset)
        place = (output.url, dataset)
        known = _known.get(place, {})
        fresh = {
            shard: known[shard] for shard, item in found if shard in known and known[shard][0] == item.etag
        }
        missing = [(shard, item) for shard, item in found if shard not in fresh]
        #: Shards whose manifest cannot be read; they are not in ``facts``.
        self.damaged: dict[str, ObjectUnreadable] = {}
        with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
            for (shard, item), facts in zip(missing, pool.map(self._read_facts, missing), strict=True):
                if isinstance(facts, ManifestFacts):
                    fresh[shard] = (item.etag, facts)
                else:
                    self.damaged[shard] = facts
        _known[place] = fresh
        self.facts: dict[str, ManifestFacts] = {
            shard: fresh[shard][1] for shard, _ in found if shard in fresh
        }
        self._last = found[-1][0] if found else None

    @property
    def shards(self) -> tuple[str, ...]:
        """Names in shard order."""
        return tuple(self.facts)

    @property
    def present(self) -> int:
        """Number of sealed images whose source is not known to be deleted."""
        return sum(facts.images - facts.absent for facts in self.facts.values())

    @property
    def next_index(self) -> int:
        """Number of the next shard to be sealed."""
        return 0 if self._last is None else keys.shard_index(self._last) + 1

    def require_intact(self) -> None:
        """Raise :class:`ObjectUnreadable` where a manifest cannot be read: its sources would look new."""
        for exc in self.damaged.values():
            raise ObjectUnreadable(
                f"{exc}. Nothing is planned until it can be read again: it is restored from a copy, or "
                "deleted, then its sources go into new shards and are made again"
            ) from exc

    def entries(self, low: str | None, high: str | None) -> Iterator[SealedEntry]:
        """Every sealed entry with ``low`` < key <= ``high``, shard by shard; ``None`` is no bound."""
        overlapping = [
            facts.shard
            for facts in self.facts.values()
            if facts.images
            and (low is None or facts.last_key > low)
            and (high is None or facts.first_key <= high)
        ]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
            for start in range(0, len(overlapping), _BATCH):
                read = lambda shard: self._read_entries(shard, low, high)  # noqa: E731
                for entries in pool.map(read, overlapping[start : start + _BATCH]):
                    yield from entries

    def _read_facts(self, found: tuple[str, SourceObject]) -> ManifestFacts | ObjectUnreadable:
        shard, item = found
        try:
            data = self._output.read(item.key)
            return facts_from_bytes(data, self._output.uri(item.key), self.dataset, shard)
        except ObjectUnreadable as exc:
            return exc

    def _read_entries(self, shard: str, low: str | None, high: str | None) -> list[SealedEntry]:
        key = keys.manifest_key(self.dataset, shard)
        return entries_between(self._output.read(key), self._output.uri(key), self.dataset, shard, low, high)


def list_manifests(output: ImageStore, dataset: str) -> list[tuple[str, SourceObject]]:
    """(shard, its manifest's object) of every sealed shard, in shard order."""
    listed = (
        (keys.shard_of_manifest(found.key), found) for found in output.list(keys.manifest_prefix(dataset))
    )
    sealed = [(shard, found) for shard, found in listed if shard is not None]
    return sorted(sealed, key=lambda item: keys.shard_index(item[0]))
