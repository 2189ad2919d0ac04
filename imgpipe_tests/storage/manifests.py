"""What is sealed, for tests."""

from __future__ import annotations

from imgpipe.records import ShardManifest
from imgpipe.storage.manifests import list_shards, read_manifest
from imgpipe.storage.store import ImageStore


def read_manifests(output: ImageStore, dataset: str) -> list[ShardManifest]:
    """Every sealed manifest of the data set, in order."""
    return [read_manifest(output, dataset, shard) for shard in list_shards(output, dataset)]
