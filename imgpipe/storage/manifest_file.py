"""A shard's manifest as a Parquet file: entries to bytes and back, and its facts without reading the rows.

The footer holds, beside the data set and the shard, the digest and the number of deleted sources, so that
thousands of shards are surveyed without decoding a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.errors import ObjectUnreadable
from imgpipe.records import ManifestEntry, ShardManifest
from imgpipe.storage.parquet import from_parquet, read_footer, to_parquet

SCHEMA_VERSION = "1"
_SETTINGS = "imgpipe.settings"


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
    table, facts = from_parquet(data, uri)
    _require_manifest_of(facts, uri, dataset, shard)
    columns = [table.column(name).to_pylist() for name in ManifestEntry.__slots__]
    entries = (ManifestEntry(*values) for values in zip(*columns, strict=True))
    return ShardManifest(dataset, shard, tuple(entries), facts.get(_SETTINGS, ""))


def facts_from_bytes(data: bytes, uri: str, dataset: str, shard: str) -> ManifestFacts:
    """A manifest's facts from its footer. Errors as above."""
    images, facts = read_footer(data, uri)
    _require_manifest_of(facts, uri, dataset, shard)
    digest, first, last = (facts[f"imgpipe.{name}"] for name in ("digest", "first_key", "last_key"))
    return ManifestFacts(shard, images, int(facts["imgpipe.absent"]), digest, first, last)


def entries_between(
    data: bytes, uri: str, dataset: str, shard: str, low: str | None, high: str | None
) -> list[SealedEntry]:
    """The entries with ``low`` < key <= ``high``; ``None`` is no bound. Only these become objects."""
    import pyarrow.compute as pc

    table, facts = from_parquet(data, uri)
    _require_manifest_of(facts, uri, dataset, shard)
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
    names = [entry.source_key for entry in manifest.entries]
    return {
        **_identity(manifest.dataset, manifest.shard),
        "imgpipe.digest": manifest.digest,
        "imgpipe.absent": str(sum(not entry.present for entry in manifest.entries)),
        "imgpipe.first_key": min(names, default=""),
        "imgpipe.last_key": max(names, default=""),
        **({_SETTINGS: manifest.settings} if manifest.settings else {}),
    }


def _identity(dataset: str, shard: str) -> dict[str, str]:
    return {"imgpipe.schema_version": SCHEMA_VERSION, "imgpipe.dataset": dataset, "imgpipe.shard": shard}


def _require_manifest_of(facts: dict[str, str], uri: str, dataset: str, shard: str) -> None:
    expected = _identity(dataset, shard)
    found = {name: facts.get(name) for name in expected}
    if found != expected:
        raise ObjectUnreadable(f"{uri}: expected a manifest with {expected}, found {found}; restore the file")
