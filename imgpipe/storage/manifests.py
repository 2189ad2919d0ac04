"""Which image belongs to which shard: planned from a listing, sealed as Parquet.

Rules
    The members of a sealed shard never change. New sources go into new shards, in key order. A changed source
    (other etag or size) is refreshed in its own shard. A deleted source stays as an entry with
    ``present=False`` and comes back when the source does. A plan without changes writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from imgpipe.errors import ConfigError, ObjectExists, ObjectMissing, OutOfOrder, StorageError
from imgpipe.records import ManifestEntry, ShardManifest, SourceObject
from imgpipe.storage import keys
from imgpipe.storage.comparison import Comparison, updated
from imgpipe.storage.manifest_file import manifest_from_bytes, manifest_to_bytes
from imgpipe.storage.sealed import SealedShards, list_manifests
from imgpipe.storage.store import ImageStore, LeftOut
from imgpipe.storage.walk import Position, StoreWalk


@dataclass(frozen=True, slots=True)
class Plan:
    """What sealing would do.

    ``shards`` are all shards of the data set as they will be, in order; ``files`` the manifests to be
    written, as bytes by shard (a tenth of their size as objects); it is empty where nothing changed. Every
    entry counts once: ``new + changed + returned + deleted + unchanged + absent`` is their number.
    ``returned`` were deleted and are back, ``absent`` were deleted before and still are. ``left_out`` is what
    is not taken for a source, and why.
    """

    dataset: str
    shards: tuple[str, ...]
    new_shards: tuple[str, ...]
    changed_shards: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)
    new: int
    changed: int
    returned: int
    deleted: int
    unchanged: int
    absent: int
    left_out: LeftOut

    @property
    def listed(self) -> int:
        """Number of objects that the source has, those that are left out included."""
        left_out = sum(self.left_out.counts.values())
        return self.new + self.changed + self.returned + self.unchanged + left_out


def plan(
    source: ImageStore, output: ImageStore, *, dataset: str, shard_size: int, limit: int | None = None
) -> Plan:
    """Compare the whole source with the sealed shards; every new image goes into a shard. Writes nothing.

    ``limit``: new ones, in key order, only until the data set has so many images; the others are left out.

    Objects below the output, where it lies inside the source, are left out. Raises :class:`ConfigError` where
    source and output are the same place or ``shard_size`` is below 1, :class:`ObjectUnreadable` where a
    sealed manifest cannot be read, and what :func:`make_plan` raises.

    Memory: a window of the listing, the sealed shards' key ranges, and the manifests to be written as
    Parquet, about 100 bytes per new or changed image.
    """
    keys.check_dataset(dataset)
    if shard_size < 1:
        raise ConfigError(f"shard_size: expected 1 or more, got {shard_size}")
    try:
        return _plan(source, output, dataset, shard_size, limit)
    except OutOfOrder:
        # A store on S3 has noticed too, and sorts the second time.
        return _plan(source, output, dataset, shard_size, limit)


def _plan(source: ImageStore, output: ImageStore, dataset: str, shard_size: int, limit: int | None) -> Plan:
    sealed = SealedShards(output, dataset)
    sealed.require_intact()
    walk = StoreWalk(source, ("",))
    comparison = Comparison(sealed, walk.left_out, own_prefix=output_inside(source.url, output.url))
    windows = walk.windows(Position(), math.inf)
    new: Iterator[SourceObject] = (found for window in windows for found in comparison.window(window))
    if limit is not None:
        new = _first(new, max(0, limit - sealed.present), comparison, f"images beyond the limit of {limit:,}")
    return make_plan(output, sealed, comparison, _batches(new, shard_size))


def make_plan(
    output: ImageStore,
    sealed: SealedShards,
    comparison: Comparison,
    members: Iterable[Sequence[SourceObject]],
) -> Plan:
    """The plan that seals ``members``, one item per new shard, and the changes that ``comparison`` found.

    ``members`` is used up first, so that it may be what drives the comparison. Raises :class:`StorageError`
    where two images of a new shard get the same id.
    """
    files: dict[str, bytes] = {}
    for batch in members:
        shard = keys.shard_name(sealed.next_index + len(files))
        files[shard] = manifest_to_bytes(ShardManifest(sealed.dataset, shard, _entries(batch)))
    new_shards = tuple(files)
    changed = tuple(sorted(comparison.updates, key=keys.shard_index))
    for shard in changed:
        manifest = updated(read_manifest(output, sealed.dataset, shard), comparison.updates[shard])
        files[shard] = manifest_to_bytes(manifest)
    return Plan(
        dataset=sealed.dataset,
        shards=(*sealed.shards, *new_shards),
        new_shards=new_shards,
        changed_shards=changed,
        files=files,
        new=comparison.new,
        changed=comparison.changed,
        returned=comparison.returned,
        deleted=comparison.deleted,
        unchanged=comparison.unchanged,
        absent=comparison.absent,
        left_out=comparison.left_out,
    )


def seal(plan: Plan, output: ImageStore) -> tuple[str, ...]:
    """Write what the plan changes, new shards first; returns the names of the shards written.

    Raises :class:`~imgpipe.errors.ObjectExists` where another planner sealed shards since the plan was made;
    each shard is claimed by one planner only, so planning again is safe and enough.
    """
    for shard in plan.new_shards:
        key = keys.manifest_key(plan.dataset, shard)
        try:
            output.write(key, plan.files[shard])
        except ObjectExists as exc:
            raise ObjectExists(
                f"{output.uri(key)}: sealed by another planner since this plan was made; plan again"
            ) from exc
    for shard in plan.changed_shards:
        output.write(keys.manifest_key(plan.dataset, shard), plan.files[shard], overwrite=True)
    return plan.new_shards + plan.changed_shards


def list_shards(output: ImageStore, dataset: str) -> list[str]:
    """Names of the data set's sealed shards, in order."""
    return [shard for shard, _ in list_manifests(output, dataset)]


def list_datasets(output: ImageStore) -> list[str]:
    """Names of the data sets that have sealed shards here, in order."""
    return sorted({found.key.split("/")[1] for found in output.list(keys.MANIFESTS)})


def read_manifest(output: ImageStore, dataset: str, shard: str) -> ShardManifest:
    """One sealed manifest; raises ObjectMissing, or ObjectUnreadable where it is not an imgpipe manifest."""
    key = keys.manifest_key(dataset, shard)
    uri = output.uri(key)
    try:
        data = output.read(key)
    except ObjectMissing as exc:
        raise ObjectMissing(f"{uri}: this shard is not sealed; `imgpipe plan` makes shards") from exc
    return manifest_from_bytes(data, uri, dataset, shard)


def output_inside(source_url: str, output_url: str) -> str | None:
    """The output's prefix among the source's keys, ``None`` where it lies elsewhere.

    Raises :class:`ConfigError` where both are the same place.
    """
    if source_url == output_url:
        raise ConfigError(
            f"output: expected another place than the source, {source_url}; choose a folder beside or in it"
        )
    base = source_url.rstrip("/") + "/"
    return f"{output_url.removeprefix(base)}/" if output_url.startswith(base) else None


def _first(
    new: Iterator[SourceObject], count: int, comparison: Comparison, reason: str
) -> Iterator[SourceObject]:
    """The first of them; the others, which are listed all the same, count as left out."""
    yield from islice(new, count)
    for found in new:
        comparison.new -= 1
        comparison.left_out.add(reason, found.key)


def _batches(found: Iterator[SourceObject], size: int) -> Iterator[tuple[SourceObject, ...]]:
    while batch := tuple(islice(found, size)):
        yield batch


def _entries(batch: Sequence[SourceObject]) -> tuple[ManifestEntry, ...]:
    entries: dict[str, ManifestEntry] = {}
    for found in batch:
        entry = ManifestEntry(found.key, keys.image_id(found.key), found.etag, found.size_bytes)
        other = entries.setdefault(entry.image_id.casefold(), entry)
        if other is not entry:
            raise StorageError(
                f"{other.source_key!r} and {entry.source_key!r}: both get the image id {entry.image_id}; "
                "expected different ids within a shard: rename one of the two sources"
            )
    return tuple(entries.values())
