"""A shard's manifest as a Parquet file: entries to bytes and back, and its facts without reading the rows.

The footer holds, beside the data set and the shard, the digest and the number of deleted sources, so that
thousands of shards are surveyed without decoding a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.errors import ObjectUnreadable
from imgpipe.records import ManifestEntry, ShardManifest
from imgpipe.storage.parquet import from_parquet, metadata_dict, to_parquet

SCHEMA_VERSION = "1"


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """Summary of a manifest: ``images`` entries, ``absent`` of them deleted, and the range of their keys.

    ``first_key`` and ``last_key`` are ``""`` where there are no entries.
    """

    shard: str
    images: int
    absent: int
    digest: str
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """One entry and where it stands: row ``position`` of ``shard``."""

    shard: str
    position: int
    source_key: str
    etag: str
    size_bytes: int
    present: bool


def manifest_to_bytes(manifest: ShardManifest) -> bytes:
    """The file of a manifest."""
    import pyarrow as pa

    types = {"size_bytes": pa.int64(), "present": pa.bool_()}
    arrays = {
        name: pa.array([getattr(entry, name) for entry in manifest.entries], types.get(name, pa.string()))
        for name in ManifestEntry.__slots__
    }
    return to_parquet(pa.table(arrays).replace_schema_metadata(_footer(manifest)))


def manifest_from_bytes(data: bytes, uri: str, dataset: str, shard: str) -> ShardManifest:
    """The manifest; raises :class:`ObjectUnreadable` where the bytes are not that shard's."""
    table = from_parquet(data, uri)
    _require_manifest_of(metadata_dict(table.schema), uri, dataset, shard)
    columns = [table.column(name).to_pylist() for name in ManifestEntry.__slots__]
    entries = (ManifestEntry(*values) for values in zip(*columns, strict=True))
    return ShardManifest(dataset, shard, tuple(entries))


def facts_from_bytes(data: bytes, uri: str, dataset: str, shard: str) -> ManifestFacts:
    """A manifest's facts from its footer; files without them are read whole. Errors as above."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise ObjectUnreadable(f"{uri}: expected a Parquet file ({exc}); delete it and run again") from exc
    facts = {key.decode(): value.decode() for key, value in (metadata.metadata or {}).items()}
    _require_manifest_of(facts, uri, dataset, shard)
    if "imgpipe.digest" in facts:
        return ManifestFacts(
            shard,
            metadata.num_rows,
            int(facts["imgpipe.absent"]),
            facts["imgpipe.digest"],
            facts["imgpipe.first_key"],
            facts["imgpipe.last_key"],
        )
    return facts_of(manifest_from_bytes(data, uri, dataset, shard))


def facts_of(manifest: ShardManifest) -> ManifestFacts:
    """The same facts from the entries."""
    names = [entry.source_key for entry in manifest.entries]
    absent = sum(not entry.present for entry in manifest.entries)
    first, last = (min(names), max(names)) if names else ("", "")
    return ManifestFacts(manifest.shard, len(names), absent, manifest.digest, first, last)


def entries_between(
    data: bytes, uri: str, dataset: str, shard: str, low: str | None, high: str | None
) -> list[SealedEntry]:
    """The entries with ``low`` < key <= ``high``; ``None`` is no bound. Only these become objects."""
    import pyarrow.compute as pc

    table = from_parquet(data, uri)
    _require_manifest_of(metadata_dict(table.schema), uri, dataset, shard)
    names = table.column("source_key")
    inside = pc.is_valid(names)
    if low is not None:
        inside = pc.and_(inside, pc.greater(names, low))
    if high is not None:
        inside = pc.and_(inside, pc.less_equal(names, high))
    positions = pc.indices_nonzero(inside)
    chosen = table.take(positions)
    columns = [chosen.column(name).to_pylist() for name in ("source_key", "etag", "size_bytes", "present")]
    return [
        SealedEntry(shard, position, *values)
        for position, values in zip(positions.to_pylist(), zip(*columns, strict=True), strict=True)
    ]


def _footer(manifest: ShardManifest) -> dict[str, str]:
    facts = facts_of(manifest)
    return {
        "imgpipe.schema_version": SCHEMA_VERSION,
        "imgpipe.dataset": manifest.dataset,
        "imgpipe.shard": manifest.shard,
        "imgpipe.digest": facts.digest,
        "imgpipe.absent": str(facts.absent),
        "imgpipe.first_key": facts.first_key,
        "imgpipe.last_key": facts.last_key,
    }


def _require_manifest_of(facts: dict[str, str], uri: str, dataset: str, shard: str) -> None:
    expected = {"imgpipe.schema_version": SCHEMA_VERSION, "imgpipe.dataset": dataset, "imgpipe.shard": shard}
    found = {name: facts.get(name) for name in expected}
    if found != expected:
        raise ObjectUnreadable(f"{uri}: expected a manifest with {expected}, found {found}; restore the file")
