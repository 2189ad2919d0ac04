"""Finds the outputs of deleted sources. Tables keep the rows, which record what became of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgpipe.errors import ObjectUnreadable
from imgpipe.stages.catalogue import output_folders
from imgpipe.storage import keys
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.opening import Stores
from imgpipe.storage.sealed import SealedShards


@dataclass(frozen=True, slots=True)
class Leftover:
    """An output whose source was deleted."""

    source_key: str
    shard: str
    key: str
    size_bytes: int


def leftovers(stores: Stores, sealed: SealedShards) -> Iterator[Leftover]:
    """Iterates over every such file of the data set, shard by shard.

    A source counts as deleted where its manifest says so and the store does not have it now either: a source
    that has returned since the last plan keeps its outputs. So do all of a shard whose manifest cannot be
    read, which joins ``sealed.damaged``.
    """
    for shard in [facts.shard for facts in sealed.facts.values() if facts.absent]:
        try:
            entries = read_manifest(stores.output, sealed.dataset, shard).entries
        except ObjectUnreadable as exc:
            sealed.damaged[shard] = exc
            continue
        gone = {
            entry.image_id: entry.source_key
            for entry in entries
            if not entry.present and not stores.source.exists(entry.source_key)
        }
        for folder in output_folders() if gone else ():
            for prefix in keys.image_prefixes(folder, sealed.dataset, shard):
                for found in stores.output.list(prefix):
                    source_key = gone.get(keys.image_of(found.key))
                    if source_key is not None:
                        yield Leftover(source_key, shard, found.key, found.size_bytes)
