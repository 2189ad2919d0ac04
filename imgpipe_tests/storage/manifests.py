"""What is sealed, for tests."""

from __future__ import annotations

from imgpipe.records import ImageRow, ShardManifest
from imgpipe.storage.manifests import list_shards, read_manifest
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_table


def read_manifests(output: ImageStore, dataset: str) -> list[ShardManifest]:
    """Every sealed manifest of the data set, in order."""
    return [read_manifest(output, dataset, shard) for shard in list_shards(output, dataset)]


def read_rows_of(output: ImageStore, dataset: str, asset: str) -> dict[str, ImageRow]:
    """Row by source key over all shards."""
    return {
        row.source_key: row
        for shard in list_shards(output, dataset)
        for row in read_table(output, asset, dataset, shard)[0]
    }
