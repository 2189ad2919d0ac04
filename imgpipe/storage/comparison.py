"""Compares the sealed shards with a sorted listing, one range of keys after the other: a merge-join.

Memory holds one window of keys and the changes found so far; it does not grow with what did not change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from imgpipe.errors import OutOfOrder, StorageError
from imgpipe.records import ShardManifest, SourceObject
from imgpipe.storage import keys
from imgpipe.storage.manifest_file import SealedEntry
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.store import LeftOut
from imgpipe.storage.walk import Window

#: Endings that make an object a source, in any case. Its format is determined from its content.
IMAGE_EXTENSIONS = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "gif", "bmp"),
        *("avif", "heic", "heif", "jxl"),
    )
)
NOT_IMAGES = "files not named like images"
RESULTS = "results of imgpipe, below"


class Comparison:
    """Counts what a listing changes.

    ``new`` counts sources without a sealed entry; ``changed, returned, deleted, unchanged, absent`` count
    sealed entries. ``left_out`` are objects without an image's ending and results of another output inside
    the source. ``updates`` are the new versions, by shard and position, as (etag, size in bytes, present).
    Objects below ``own_prefix`` are not even counted. ``confirm``: which of the sources that a window lacks
    are deleted; without it, all.
    """

    def __init__(
        self,
        sealed: SealedShards,
        left_out: LeftOut,
        *,
        own_prefix: str | None = None,
        confirm: Callable[[Sequence[str]], Collection[str]] = lambda keys: keys,
    ) -> None:
        self._sealed = sealed
        self._confirm = confirm
        self.left_out = left_out
        self._own = own_prefix
        self._last: str | None = None
        self.new = self.changed = self.returned = self.deleted = self.unchanged = self.absent = 0
        self.updates: dict[str, dict[int, tuple[str, int, bool]]] = {}

    def window(self, window: Window) -> list[SourceObject]:
        """Compare all sources of a window; returns those that are new, in order.

        Raises :class:`OutOfOrder` where the listing is not in key order.
        """
        known: dict[str, SealedEntry] = {}
        for entry in self._sealed.entries(window.low, window.high):
            if not entry.source_key.startswith(window.prefix):
                continue
            if entry.source_key in known:
                raise StorageError(
                    f"{entry.source_key}: in two sealed shards, the second is {entry.shard}; "
                    "remove the manifest that was not made by imgpipe"
                )
            known[entry.source_key] = entry
        new = [found for found in window.listed if self._is_new(found, known)]
        self.new += len(new)
        if window.complete:
            present = [key for key, entry in known.items() if entry.present]
            self.absent += len(known) - len(present)
            for key in self._confirm(present):
                self._gone(known[key])
        return new

    def _is_new(self, found: SourceObject, known: dict[str, SealedEntry]) -> bool:
        if self._last is not None and found.key <= self._last:
            if found.key == self._last:  # A page was fetched again.
                return False
            raise OutOfOrder(
                f"expected sources in key order, got {found.key!r} after {self._last!r}; set "
                "s3.listing_order=unsorted, or sort the list by key"
            )
        self._last = found.key
        if self._own is not None and found.key.startswith(self._own):
            return False
        entry = known.pop(found.key, None)
        if entry is not None:
            self._compare(entry, found)
            return False
        root = keys.root_of_result(found.key)
        if root is not None:
            self.left_out.add(RESULTS, root or "./")
            return False
        if _ending(found.key) in IMAGE_EXTENSIONS:
            return True
        self.left_out.add(NOT_IMAGES, found.key)
        return False

    def _compare(self, entry: SealedEntry, found: SourceObject) -> None:
        if entry.present and (entry.etag, entry.size_bytes) == (found.etag, found.size_bytes):
            self.unchanged += 1
            return
        if entry.present:
            self.changed += 1
        else:
            self.returned += 1
        self._update(entry, (found.etag, found.size_bytes, True))

    def _gone(self, entry: SealedEntry) -> None:
        self.deleted += 1
        self._update(entry, (entry.etag, entry.size_bytes, False))

    def _update(self, entry: SealedEntry, version: tuple[str, int, bool]) -> None:
        self.updates.setdefault(entry.shard, {})[entry.position] = version


def updated(manifest: ShardManifest, versions: dict[int, tuple[str, int, bool]]) -> ShardManifest:
    """The manifest with new versions of some of its entries."""
    entries = list(manifest.entries)
    for position, (etag, size_bytes, present) in versions.items():
        entries[position] = replace(entries[position], etag=etag, size_bytes=size_bytes, present=present)
    return replace(manifest, entries=tuple(entries))


def _ending(key: str) -> str:
    stem, dot, ending = key.rsplit("/", 1)[-1].rpartition(".")
    return ending.lower() if dot and stem else ""
