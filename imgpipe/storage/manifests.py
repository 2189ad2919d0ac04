"""Which image belongs to which shard: planned from a listing, sealed as Parquet.

Rules
    The members of a sealed shard never change. New sources go into new shards, in key order. A changed source
    (other etag or size) is refreshed in its own shard. A deleted source stays as an entry with
    ``present=False`` and comes back when the source does. A plan without changes writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from imgpipe.errors import ConfigError, ObjectExists, ObjectMissing, ObjectUnreadable, StorageError
from imgpipe.records import ManifestEntry, ShardManifest, SourceObject
from imgpipe.storage import keys
from imgpipe.storage.parquet import from_parquet, metadata_dict, to_parquet
from imgpipe.storage.store import ImageStore

#: A source is what has one of these endings, in any case; what it really is shows its content.
IMAGE_EXTENSIONS = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "gif", "bmp"),
        *("avif", "heic", "heif", "jxl"),
    )
)
SCHEMA_VERSION = "1"
_MAX_EXAMPLES = 20
_READERS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What sealing would do.

    ``manifests`` are all shards of the data set as they will be, in shard order. Every entry counts once:
    ``new + changed + returned + deleted + unchanged + absent`` is their number. ``returned`` were
    deleted and are back, ``absent`` were deleted before and still are. ``ignored`` objects have no image's
    ending; ``ignored_examples`` names up to 20 of them.
    """

    dataset: str
    manifests: tuple[ShardManifest, ...]
    new_shards: tuple[str, ...]
    changed_shards: tuple[str, ...]
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


def plan(
    source: ImageStore,
    output: ImageStore,
    *,
    dataset: str,
    shard_size: int,
    extensions: Iterable[str] | None = None,
) -> Plan:
    """Compare the source's listing with the sealed shards; writes nothing.

    ``extensions``: endings that make an object a source, without dots (default :data:`IMAGE_EXTENSIONS`).
    Objects below the output, where it lies inside the source, are no sources. Raises :class:`ConfigError`
    where source and output are the same place or ``shard_size`` is below 1.
    """
    keys.check_dataset(dataset)
    if shard_size < 1:
        raise ConfigError(f"shard_size: expected 1 or more, got {shard_size}")
    own = _output_inside(source.url, output.url)
    endings = IMAGE_EXTENSIONS if extensions is None else {text.lower().lstrip(".") for text in extensions}
    comparison = _Comparison(read_manifests(output, dataset))
    ignored = 0
    examples: list[str] = []
    for found in _foreign(source.list(), own):
        if _ending(found.key) in endings or comparison.waits_for(found.key):
            comparison.add(found)
            continue
        ignored += 1
        if len(examples) < _MAX_EXAMPLES:
            examples.append(found.key)
    return comparison.finish(dataset, shard_size, ignored, tuple(examples))


def seal(plan: Plan, output: ImageStore) -> tuple[str, ...]:
    """Write what the plan changes, new shards first; returns the names of the shards written.

    Raises :class:`~imgpipe.errors.ObjectExists` where somebody else sealed shards since the plan was made;
    each shard is claimed by one planner only, so planning again is safe and enough.
    """
    by_name = {manifest.shard: manifest for manifest in plan.manifests}
    for shard in plan.new_shards:
        key = keys.manifest_key(plan.dataset, shard)
        try:
            output.write(key, _to_bytes(by_name[shard]))
        except ObjectExists as exc:
            raise ObjectExists(
                f"{output.uri(key)}: sealed by somebody else since this plan was made; plan again"
            ) from exc
    for shard in plan.changed_shards:
        output.write(keys.manifest_key(plan.dataset, shard), _to_bytes(by_name[shard]), overwrite=True)
    return plan.new_shards + plan.changed_shards


def list_shards(output: ImageStore, dataset: str) -> list[str]:
    """Names of the data set's sealed shards, in order."""
    names = (keys.shard_of_manifest(found.key) for found in output.list(keys.manifest_prefix(dataset)))
    return sorted((name for name in names if name is not None), key=keys.shard_index)


def list_datasets(output: ImageStore) -> list[str]:
    """Names of the data sets that have sealed shards here, in order."""
    return sorted({found.key.split("/")[1] for found in output.list(keys.MANIFESTS)})


def read_manifests(output: ImageStore, dataset: str) -> list[ShardManifest]:
    """Every sealed manifest of the data set, in order."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
        return list(
            pool.map(lambda shard: read_manifest(output, dataset, shard), list_shards(output, dataset))
        )


def read_manifest(output: ImageStore, dataset: str, shard: str) -> ShardManifest:
    """One sealed manifest; raises ObjectMissing, or ObjectUnreadable where it is none of ours."""
    key = keys.manifest_key(dataset, shard)
    uri = output.uri(key)
    try:
        table = from_parquet(output.read(key), uri)
    except ObjectMissing as exc:
        raise ObjectMissing(f"{uri}: this shard is not sealed; `imgpipe plan` makes shards") from exc
    facts = metadata_dict(table.schema)
    expected = {"imgpipe.schema_version": SCHEMA_VERSION, "imgpipe.dataset": dataset, "imgpipe.shard": shard}
    found = {name: facts.get(name) for name in expected}
    if found != expected:
        raise ObjectUnreadable(f"{uri}: expected a manifest with {expected}, found {found}; restore the file")
    columns = [table.column(name).to_pylist() for name in ManifestEntry.__slots__]
    return ShardManifest(
        dataset, shard, tuple(ManifestEntry(*values) for values in zip(*columns, strict=True))
    )


class _Comparison:
    """The sealed shards beside a listing that arrives object by object."""

    def __init__(self, sealed: list[ShardManifest]) -> None:
        self._sealed = sealed
        self._unseen: dict[str, tuple[int, int]] = {}
        self._updates: dict[int, dict[int, ManifestEntry]] = {}
        self._new: list[ManifestEntry] = []
        self._ids: set[str] = set()
        self._counts = {"changed": 0, "returned": 0, "deleted": 0, "unchanged": 0, "absent": 0}
        self._last: str | None = None
        for shard, manifest in enumerate(sealed):
            for position, entry in enumerate(manifest.entries):
                if entry.source_key in self._unseen:
                    raise StorageError(
                        f"{entry.source_key}: in two sealed shards of {manifest.dataset}, the second is "
                        f"{manifest.shard}; remove the manifest that was not made by imgpipe"
                    )
                self._unseen[entry.source_key] = (shard, position)
                self._ids.add(entry.image_id.lower())

    def waits_for(self, key: str) -> bool:
        """Whether the key is sealed and was not seen yet (endings may have been other ones then)."""
        return key in self._unseen

    def add(self, found: SourceObject) -> None:
        """One object of the listing, in key order."""
        if found.key == self._last:
            return
        self._last = found.key
        place = self._unseen.pop(found.key, None)
        if place is None:
            name = self._free_id(found.key)
            self._new.append(ManifestEntry(found.key, name, found.etag, found.size_bytes))
            return
        entry = self._sealed[place[0]].entries[place[1]]
        same = (entry.etag, entry.size_bytes) == (found.etag, found.size_bytes)
        if same and entry.present:
            self._counts["unchanged"] += 1
            return
        self._counts["changed" if entry.present else "returned"] += 1
        self._update(place, replace(entry, etag=found.etag, size_bytes=found.size_bytes, present=True))

    def finish(self, dataset: str, shard_size: int, ignored: int, examples: tuple[str, ...]) -> Plan:
        """What follows from the listing, now that it is complete."""
        for place in self._unseen.values():
            entry = self._sealed[place[0]].entries[place[1]]
            self._counts["deleted" if entry.present else "absent"] += 1
            if entry.present:
                self._update(place, replace(entry, present=False))
        manifests = [self._updated(index, manifest) for index, manifest in enumerate(self._sealed)]
        first = keys.shard_index(self._sealed[-1].shard) + 1 if self._sealed else 0
        added = [
            ShardManifest(
                dataset, keys.shard_name(first + number), tuple(self._new[start : start + shard_size])
            )
            for number, start in enumerate(range(0, len(self._new), shard_size))
        ]
        return Plan(
            dataset=dataset,
            manifests=(*manifests, *added),
            new_shards=tuple(manifest.shard for manifest in added),
            changed_shards=tuple(self._sealed[index].shard for index in sorted(self._updates)),
            new=len(self._new),
            ignored=ignored,
            ignored_examples=examples,
            **self._counts,
        )

    def _free_id(self, key: str) -> str:
        """An id that no other image of the data set has, on a file system that ignores case either."""
        name = next(
            candidate
            for candidate in (keys.image_id(key, digits=digits) for digits in (10, 20, 64))
            if candidate.lower() not in self._ids
        )
        self._ids.add(name.lower())
        return name

    def _update(self, place: tuple[int, int], entry: ManifestEntry) -> None:
        self._updates.setdefault(place[0], {})[place[1]] = entry

    def _updated(self, index: int, manifest: ShardManifest) -> ShardManifest:
        updates = self._updates.get(index)
        if updates is None:
            return manifest
        entries = (updates.get(position, entry) for position, entry in enumerate(manifest.entries))
        return replace(manifest, entries=tuple(entries))


def _output_inside(source_url: str, output_url: str) -> str | None:
    """The output's prefix among the source's keys, ``None`` where it lies elsewhere."""
    if source_url == output_url:
        raise ConfigError(
            f"output: expected another place than the source, {source_url}; choose a folder beside or in it"
        )
    base = source_url.rstrip("/") + "/"
    return f"{output_url.removeprefix(base)}/" if output_url.startswith(base) else None


def _foreign(listing: Iterator[SourceObject], own: str | None) -> Iterator[SourceObject]:
    return (found for found in listing if own is None or not found.key.startswith(own))


def _ending(key: str) -> str:
    stem, dot, ending = key.rsplit("/", 1)[-1].rpartition(".")
    return ending.lower() if dot and stem else ""


def _to_bytes(manifest: ShardManifest) -> bytes:
    import pyarrow as pa

    types = {"size_bytes": pa.int64(), "present": pa.bool_()}
    arrays = {
        name: pa.array([getattr(entry, name) for entry in manifest.entries], types.get(name, pa.string()))
        for name in ManifestEntry.__slots__
    }
    facts = {
        "imgpipe.schema_version": SCHEMA_VERSION,
        "imgpipe.dataset": manifest.dataset,
        "imgpipe.shard": manifest.shard,
    }
    return to_parquet(pa.table(arrays).replace_schema_metadata(facts))
