"""One bounded look for new, changed and deleted sources; what it finds is sealed into shards.

A look compares the next sources, in key order, with what the sealed manifests know of exactly these keys.
So neither equal timestamps nor late arrivals matter: a key that comes in behind the position is found in the
next round. New sources wait (``shards/<dataset>/waiting.parquet``) until they fill a shard or have waited
long enough. Memory: one window of keys, the sealed shards' key ranges, the waiting list.

Crashes: before anything is sealed, the waiting list is written with the shards that are about to be
touched. A look whose cursor was never stored is recognized by its number, and its shards are asked for again;
waiting sources that were sealed meanwhile, by that look or by ``imgpipe plan``, are struck off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from imgpipe.config import Settings
from imgpipe.errors import ConfigError
from imgpipe.records import ManifestEntry, ShardManifest, SourceObject
from imgpipe.storage import keys
from imgpipe.storage.comparison import Comparison, updated
from imgpipe.storage.manifest_file import facts_of, manifest_to_bytes
from imgpipe.storage.manifests import claim_shard, output_inside, read_manifest
from imgpipe.storage.sealed import SealedShards, read_facts
from imgpipe.storage.source_list import ListWalk
from imgpipe.storage.store import ImageStore
from imgpipe.storage.taken_ids import SURE_DIGITS
from imgpipe.storage.waiting import Waiting, read_waiting, write_waiting
from imgpipe.storage.walk import Position, StoreWalk, Walk

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """What one look hands to the next: its number, the walk, and where to go on (None: begin again)."""

    tick: int = 0
    walk: str = ""
    position: Position | None = None

    def to_json(self) -> str:
        place = None if self.position is None else asdict(self.position)
        return json.dumps({"version": _VERSION, "tick": self.tick, "walk": self.walk, "position": place})

    @classmethod
    def from_json(cls, text: str | None) -> Cursor:
        """Raises :class:`ConfigError` for a text that is none of ours."""
        if not text:
            return cls()
        try:
            value = json.loads(text)
            if value["version"] != _VERSION:
                raise ValueError(f"version {value['version']}")
            place = None if value["position"] is None else Position(**value["position"])
            return cls(int(value["tick"]), str(value["walk"]), place)
        except (ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"cursor: expected one of this sensor, version {_VERSION}, got {text[:200]!r}; "
                "reset it in the UI: the next look begins at the first key, nothing is lost"
            ) from exc


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. ``touched``: shard -> manifest digest, new ones included, in shard order.

    ``compared`` sources were looked at; ``ended``: the round is complete, the next look begins again.
    """

    cursor: str
    touched: dict[str, str]
    sealed: tuple[str, ...]
    compared: int
    new: int
    changed: int
    returned: int
    deleted: int
    waiting: int
    ignored: int
    ended: bool

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.compared} sources compared: {self.new} new, {self.changed} changed, {self.returned} "
            f"returned, {self.deleted} deleted; {len(self.sealed)} shards sealed, {self.waiting} sources wait"
        )


def look(
    source: ImageStore, output: ImageStore, settings: Settings, cursor: str | None, now: datetime
) -> Look:
    """Compare the next sources and seal what is due. ``now``: with a time zone.

    Raises what the stores raise, and :class:`~imgpipe.errors.ObjectExists` where somebody else seals shards
    at the same moment: looking again is safe and enough.
    """
    before = Cursor.from_json(cursor)
    dataset = settings.dataset
    sealed = SealedShards(output, dataset)
    waiting = read_waiting(output, dataset)
    noted = dict(waiting.seen)
    recovered = _recover(waiting, before, sealed, output, dataset)
    comparison = Comparison(sealed, own_prefix=output_inside(source.url, output.url))
    walk = _walk(source, settings)
    round_ = _compare(walk, _start(before, walk), comparison, waiting, settings, now)
    files, left = _cut(waiting, settings, sealed.next_index, now)
    new_shards = tuple(files)
    for shard, versions in comparison.updates.items():
        files[shard] = updated(read_manifest(output, dataset, shard), versions)
    after = Cursor(max(before.tick, waiting.tick) + 1, walk.identity, round_.position)
    if files or waiting.seen != noted:
        _write(output, dataset, waiting.seen, left, after.tick, files, new_shards, sealed.next_index)
    touched = {shard: facts_of(manifest).digest for shard, manifest in files.items()}
    for shard in recovered:
        touched.setdefault(shard, read_facts(output, dataset, shard).digest)
    return Look(
        cursor=after.to_json(),
        touched={shard: touched[shard] for shard in sorted(touched, key=keys.shard_index)},
        sealed=new_shards,
        compared=round_.compared,
        new=round_.new,
        changed=comparison.changed,
        returned=comparison.returned,
        deleted=comparison.deleted,
        waiting=len(left),
        ignored=comparison.ignored,
        ended=round_.position is None,
    )


@dataclass(frozen=True, slots=True)
class _Round:
    """How far one look came."""

    position: Position | None
    compared: int
    new: int


def _walk(source: ImageStore, settings: Settings) -> Walk:
    automation = settings.automation
    if automation.source_list is None:
        return StoreWalk(source, automation.prefixes)
    return ListWalk(automation.source_list, source, settings.s3, complete=automation.source_list_complete)


def _start(before: Cursor, walk: Walk) -> Position | None:
    """Where to go on; ``None`` where a list was read to its end and is still the same."""
    if before.walk != walk.identity:
        return Position()
    if before.position is None and not walk.changes_by_itself:
        return None
    return before.position or Position()


def _compare(
    walk: Walk,
    start: Position | None,
    comparison: Comparison,
    waiting: Waiting,
    settings: Settings,
    now: datetime,
) -> _Round:
    """Walk on from ``start``; what is new joins ``waiting``, what is gone again leaves it."""
    position, compared, new = start, 0, 0
    earlier = tuple(waiting.seen)
    for window in walk.windows(start, settings.automation.objects_per_tick) if start else ():
        found = comparison.window(
            window.listed, window.low, window.high, prefix=window.prefix, complete=window.complete
        )
        fresh = {item.key for item in found}
        new += len(fresh - waiting.seen.keys())
        if window.complete:
            waiting.strike(key for key in earlier if window.covers(key) and key not in fresh)
        for item in found:
            waiting.note(item, now)
        compared += len(window.listed)
        position = window.next
    return _Round(position, compared, new)


def _recover(
    waiting: Waiting, before: Cursor, sealed: SealedShards, output: ImageStore, dataset: str
) -> tuple[str, ...]:
    """Strike off what was sealed since the list was written; the shards of a look whose cursor was lost."""
    if waiting.seen:
        for shard in sealed.shards:
            if keys.shard_index(shard) >= waiting.next_index:
                manifest = read_manifest(output, dataset, shard)
                waiting.strike(entry.source_key for entry in manifest.entries)
    if waiting.tick <= before.tick:
        return ()
    return tuple(shard for shard in waiting.touched if shard in sealed.facts)


def _cut(
    waiting: Waiting, settings: Settings, next_index: int, now: datetime
) -> tuple[dict[str, ShardManifest], dict[str, tuple[SourceObject, datetime]]]:
    """The shards that are full or due, and what goes on waiting; ``waiting`` itself stays as it is."""
    rest = Waiting(dict(waiting.seen))
    due = rest.overdue(now, settings.automation.max_wait_seconds)
    files: dict[str, ShardManifest] = {}
    while len(rest.seen) >= settings.shard_size or (due and rest.seen):
        shard = keys.shard_name(next_index + len(files))
        entries = tuple(
            ManifestEntry(
                found.key, keys.image_id(found.key, digits=SURE_DIGITS), found.etag, found.size_bytes
            )
            for found in rest.take(settings.shard_size)
        )
        files[shard] = ShardManifest(settings.dataset, shard, entries)
    return files, rest.seen


def _write(
    output: ImageStore,
    dataset: str,
    seen: Mapping[str, tuple[SourceObject, datetime]],
    left: Mapping[str, tuple[SourceObject, datetime]],
    tick: int,
    files: Mapping[str, ShardManifest],
    new_shards: tuple[str, ...],
    next_index: int,
) -> None:
    """First what is about to happen, then the manifests, then what goes on waiting."""
    touched = tuple(files)
    if files:
        write_waiting(output, dataset, Waiting(dict(seen), tick, touched, next_index))
    for shard, manifest in files.items():
        data = manifest_to_bytes(manifest)
        if shard in new_shards:
            claim_shard(output, dataset, shard, data)
        else:
            output.write(keys.manifest_key(dataset, shard), data, overwrite=True)
    write_waiting(output, dataset, Waiting(dict(left), tick, touched, next_index + len(new_shards)))
