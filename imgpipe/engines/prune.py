"""Finds the outputs of deleted sources. Tables keep the rows, which record what became of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgpipe.stages.catalogue import output_folders
from imgpipe.storage import keys
from imgpipe.storage.deletions import require_plausible
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


def leftovers(stores: Stores, dataset: str) -> Iterator[Leftover]:
    """Iterates over every such file of the data set, shard by shard.

    A source counts as deleted where its manifest says so and the store does not have it now either: a source
    that has returned since the last plan keeps its outputs.
    """
    sealed = SealedShards(stores.output, dataset)
    for shard in (facts.shard for facts in sealed.facts.values() if facts.absent):
        gone = {
            entry.image_id: entry.source_key
            for entry in read_manifest(stores.output, dataset, shard).entries
            if not entry.present and not stores.source.exists(entry.source_key)
        }
        for folder in output_folders() if gone else ():
            for prefix in keys.image_prefixes(folder, dataset, shard):
                for found in stores.output.list(prefix):
                    source_key = gone.get(keys.image_of(found.key))
                    if source_key is not None:
                        yield Leftover(source_key, shard, found.key, found.size_bytes)


def require_few_leftovers(stores: Stores, dataset: str, max_share: float) -> None:
    """Raise :class:`ConfigError` where the source is empty, or more than ``max_share`` (0..1) of the images
    with outputs have lost their source: it may be away, not deleted."""
    gone = len({leftover.source_key for leftover in leftovers(stores, dataset)})
    require_plausible(
        gone,
        gone + SealedShards(stores.output, dataset).present,
        int(any(True for _ in stores.source.list())),
        max_share=max_share,
        source_url=stores.source.url,
        undone=("Nothing was removed", "`imgpipe prune --yes --allow-deletions`"),
    )
