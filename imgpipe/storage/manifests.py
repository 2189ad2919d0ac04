"""Which image belongs to which shard: planned from a listing, sealed as Parquet.

Rules
    The members of a sealed shard never change. New sources go into new shards, in key order. A changed source
    (other etag or size) is refreshed in its own shard. A deleted source stays as an entry with
    ``present=False`` and comes back when the source does. A plan without changes writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from imgpipe.errors import ConfigError, ObjectExists, ObjectMissing
from imgpipe.records import ManifestEntry, ShardManifest, SourceObject
from imgpipe.storage import keys
from imgpipe.storage.comparison import WINDOW, Comparison, updated
from imgpipe.storage.manifest_file import manifest_from_bytes, manifest_to_bytes
from imgpipe.storage.sealed import SealedShards, not_sealed
from imgpipe.storage.store import ImageStore
from imgpipe.storage.taken_ids import TakenIds

_READERS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What sealing would do.

    ``shards`` are all shards of the data set as they will be, in order; ``files`` the manifests to be
    written, as bytes by shard (a tenth of their size as objects). Every entry counts once:
    ``new + changed + returned + deleted + unchanged + absent`` is their number. ``returned`` were
    deleted and are back, ``absent`` were deleted before and still are. ``ignored`` objects have no image's
    ending; ``ignored_examples`` names up to 20 of them.
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
    ignored: int
    ignored_examples: tuple[str, ...]

    @property
    def has_changes(self) -> bool:
        """Whether :func:`seal` would write anything."""
        return bool(self.new_shards or self.changed_shards)

    def manifest(self, shard: str) -> ShardManifest:
        """A manifest to be written; KeyError for a shard that stays as it is."""
        return manifest_from_bytes(self.files[shard], f"plan of {shard}", self.dataset, shard)


def plan(
    source: ImageStore,
    output: ImageStore,
    *,
    dataset: str,
    shard_size: int,
    extensions: Iterable[str] | None = None,
) -> Plan:
    """Compare the source's listing with the sealed shards; writes nothing.

    ``extensions``: endings that make an object a source, without dots (default
    :data:`~imgpipe.storage.comparison.IMAGE_EXTENSIONS`). Objects below the output, where it lies inside the
    source, are no sources. Raises :class:`ConfigError` where source and output are the same place or
    ``shard_size`` is below 1.

    Memory: a window of the listing, the sealed shards' key ranges, and the manifests to be written as
    Parquet, about 100 bytes per new or changed image.
    """
    keys.check_dataset(dataset)
    if shard_size < 1:
        raise ConfigError(f"shard_size: expected 1 or more, got {shard_size}")
    own = output_inside(source.url, output.url)
    sealed = SealedShards(output, dataset)
    comparison = Comparison(sealed, extensions=extensions, own_prefix=own)
    files: dict[str, bytes] = {}
    count = 0
    entries = _named(_windows(source.list(), comparison), sealed)
    while members := tuple(islice(entries, shard_size)):
        manifest = ShardManifest(dataset, keys.shard_name(sealed.next_index + len(files)), members)
        files[manifest.shard] = manifest_to_bytes(manifest)
        count += len(members)
    new_shards = tuple(files)
    changed = tuple(sorted(comparison.updates, key=keys.shard_index))
    for shard in changed:
        manifest = updated(read_manifest(output, dataset, shard), comparison.updates[shard])
        files[shard] = manifest_to_bytes(manifest)
    return Plan(
        dataset=dataset,
        shards=(*sealed.shards, *new_shards),
        new_shards=new_shards,
        changed_shards=changed,
        files=files,
        new=count,
        changed=comparison.changed,
        returned=comparison.returned,
        deleted=comparison.deleted,
        unchanged=comparison.unchanged,
        absent=comparison.absent,
        ignored=comparison.ignored,
        ignored_examples=tuple(comparison.ignored_examples),
    )


def seal(plan: Plan, output: ImageStore) -> tuple[str, ...]:
    """Write what the plan changes, new shards first; returns the names of the shards written.

    Raises :class:`~imgpipe.errors.ObjectExists` where somebody else sealed shards since the plan was made;
    each shard is claimed by one planner only, so planning again is safe and enough.
    """
    for shard in plan.new_shards:
        claim_shard(output, plan.dataset, shard, plan.files[shard])
    for shard in plan.changed_shards:
        output.write(keys.manifest_key(plan.dataset, shard), plan.files[shard], overwrite=True)
    return plan.new_shards + plan.changed_shards


def claim_shard(output: ImageStore, dataset: str, shard: str, data: bytes) -> None:
    """Write a new shard's manifest; raises :class:`ObjectExists` where somebody else has sealed it."""
    key = keys.manifest_key(dataset, shard)
    try:
        output.write(key, data)
    except ObjectExists as exc:
        raise ObjectExists(
            f"{output.uri(key)}: sealed by somebody else since this plan was made; plan again"
        ) from exc


def list_shards(output: ImageStore, dataset: str) -> list[str]:
    """Names of the data set's sealed shards, in order."""
    names = (keys.shard_of_manifest(found.key) for found in output.list(keys.manifest_prefix(dataset)))
    return sorted((name for name in names if name is not None), key=keys.shard_index)


def list_datasets(output: ImageStore) -> list[str]:
    """Names of the data sets that have sealed shards here, in order."""
    return sorted({found.key.split("/")[1] for found in output.list(keys.MANIFESTS)})


def read_manifests(output: ImageStore, dataset: str) -> list[ShardManifest]:
    """Every sealed manifest of the data set, in order; all of it in memory."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
        return list(
            pool.map(lambda shard: read_manifest(output, dataset, shard), list_shards(output, dataset))
        )


def read_manifest(output: ImageStore, dataset: str, shard: str) -> ShardManifest:
    """One sealed manifest; raises ObjectMissing, or ObjectUnreadable where it is none of ours."""
    key = keys.manifest_key(dataset, shard)
    uri = output.uri(key)
    try:
        data = output.read(key)
    except ObjectMissing as exc:
        raise not_sealed(uri) from exc
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


def _named(new: Iterator[SourceObject], sealed: SealedShards) -> Iterator[ManifestEntry]:
    """Entries of new sources, with ids that no image of the data set has."""
    ids: TakenIds | None = None
    for found in new:
        if ids is None:  # Reading all ids is for those who need one.
            ids = TakenIds(sealed.image_ids())
        yield ManifestEntry(found.key, ids.free_id(found.key), found.etag, found.size_bytes)


def _windows(listing: Iterator[SourceObject], comparison: Comparison) -> Iterator[SourceObject]:
    """The sources that no shard has yet, window after window; the last one is open at its end."""
    low: str | None = None
    while True:
        listed = list(islice(listing, WINDOW))
        high = listed[-1].key if len(listed) == WINDOW else None
        yield from comparison.window(listed, low, high)
        if high is None:
            return
        low = high
