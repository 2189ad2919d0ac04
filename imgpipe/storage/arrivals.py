"""A bounded, resumable scan for new, changed and deleted sources; what is due is sealed into shards.

A scan compares the next sources, in key order, with the entries that the sealed manifests have in the same
range of keys. It is a plan (:mod:`imgpipe.storage.manifests`) of a part of the source in which new sources
wait (``shards/<dataset>/waiting.parquet``) until they fill a shard or have waited long enough. Neither equal
timestamps nor late arrivals matter: a key before the position is found in the next round. Memory: one window
of keys, the sealed shards' key ranges, the waiting list.

Crashes: before anything is sealed, the waiting list is written with the shards that are about to be
touched. A scan whose cursor was never stored is recognized by its number, and its shards are reported again;
waiting sources that were sealed meanwhile, by that scan or by ``imgpipe plan``, leave the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from imgpipe.config import Settings
from imgpipe.errors import ConfigError
from imgpipe.names import counted
from imgpipe.records import SourceObject
from imgpipe.storage import keys
from imgpipe.storage.comparison import Comparison
from imgpipe.storage.deletions import DeletionCheck, require_plausible
from imgpipe.storage.manifest_file import facts_from_bytes
from imgpipe.storage.manifests import Plan, make_plan, output_inside, read_manifest, seal
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.source_list import ListWalk
from imgpipe.storage.source_record import record_source, require_source
from imgpipe.storage.store import ImageStore, LeftOut
from imgpipe.storage.waiting import Waiting, read_waiting, write_waiting
from imgpipe.storage.walk import Position, StoreWalk, Walk

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """State between scans: number of the last one, the walk, and where it continues (None: at its start).

    ``deleted``: sources that this round has marked as deleted so far.
    """

    tick: int = 0
    walk: str = ""
    position: Position | None = None
    deleted: int = 0

    def to_json(self) -> str:
        place = None if self.position is None else asdict(self.position)
        state = {"version": _VERSION, "tick": self.tick, "walk": self.walk, "position": place}
        return json.dumps({**state, "deleted": self.deleted})

    @classmethod
    def from_json(cls, text: str | None) -> Cursor:
        """Raises :class:`ConfigError` for a text that :meth:`to_json` did not write."""
        if not text:
            return cls()
        try:
            value = json.loads(text)
            if value["version"] != _VERSION:
                raise ValueError(f"version {value['version']}")
            place = None if value["position"] is None else Position(**value["position"])
            return cls(int(value["tick"]), str(value["walk"]), place, int(value.get("deleted", 0)))
        except (ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"cursor: expected one of this sensor, version {_VERSION}, got {text[:200]!r}; "
                "reset it in the UI: the next scan begins at the first key, nothing is lost"
            ) from exc


@dataclass(frozen=True, slots=True)
class Scan:
    """Result of one scan. ``touched``: shard -> manifest digest, new ones included, in shard order.

    ``compared``: number of images listed. ``waiting``: those that no shard holds yet; ``waits_until``: when a
    shard of them is sealed although it is not full. ``ended``: the round is complete, the next scan begins
    again. ``warnings``: what is not as it should be, and what to do.
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
    waits_until: datetime | None
    left_out: LeftOut
    ended: bool
    warnings: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line for people."""
        until = f" for a full shard, until {self.waits_until:%F %H:%M %Z}" if self.waits_until else ""
        return (
            f"{counted(self.compared, 'image')} compared: {self.new} new, {self.changed} changed, "
            f"{self.returned} returned, {self.deleted} deleted; {counted(len(self.sealed), 'shard')} sealed, "
            f"{counted(self.waiting, 'image')} waiting{until}"
            + "".join(f"; {line}" for line in (*self.left_out.describe(), *self.warnings))
        )


def scan(
    source: ImageStore, output: ImageStore, settings: Settings, cursor: str | None, now: datetime
) -> Scan:
    """Compare the next sources and seal what is due. ``now``: with a time zone.

    Raises what the stores raise, and :class:`~imgpipe.errors.ObjectExists` where another planner seals shards
    at the same moment: looking again is safe and enough. Raises :class:`ConfigError` where the data set was
    made from another source, or where more of it is gone than ``limits.max_deleted_share`` in this round.
    """
    before = Cursor.from_json(cursor)
    dataset = settings.dataset
    require_source(output, dataset, source.url)
    sealed = SealedShards(output, dataset)
    sealed.require_intact()
    waiting = read_waiting(output, dataset)
    noted = dict(waiting.seen)
    recovered = _recover(waiting, before, sealed, output, dataset)
    walk = _walk(source, settings)
    own_prefix = output_inside(source.url, output.url)
    check = DeletionCheck(source)
    comparison = Comparison(sealed, walk.left_out, own_prefix=own_prefix, confirm=check)
    start = _start(before, walk)
    position, listed, new = _compare(walk, start, comparison, waiting, settings, now)
    earlier = 0 if start in (None, Position()) else before.deleted
    require_plausible(
        earlier + comparison.deleted + check.unchecked,
        earlier + sealed.present,
        # An empty source is listed in one scan: one that goes on, or went on, has seen sources.
        listed if start == Position() and position is None else 1,
        max_share=settings.limits.max_deleted_share,
        source_url=source.url,
    )
    due, left = _split(waiting, settings, now)
    plan = make_plan(output, sealed, comparison, due)
    deleted = 0 if position is None else earlier + comparison.deleted
    after = Cursor(max(before.tick, waiting.tick) + 1, walk.identity, position, deleted)
    if plan.files or waiting.seen != noted:
        record_source(output, dataset, source.url)
        _write(output, plan, waiting.seen, left.seen, after.tick, sealed.next_index)
    digests = {shard: sealed.facts[shard].digest for shard in recovered}
    for shard, data in plan.files.items():
        digests[shard] = facts_from_bytes(data, shard, dataset, shard).digest
    return Scan(
        cursor=after.to_json(),
        touched={shard: digests[shard] for shard in sorted(digests, key=keys.shard_index)},
        sealed=plan.new_shards,
        compared=comparison.new + comparison.unchanged + plan.changed + plan.returned,
        new=new,
        changed=plan.changed,
        returned=plan.returned,
        deleted=plan.deleted,
        waiting=len(left.seen),
        waits_until=left.due(settings.automation.max_wait_seconds),
        left_out=plan.left_out,
        ended=position is None,
        warnings=tuple(_warnings(source, check)),
    )


def _warnings(source: ImageStore, check: DeletionCheck) -> Iterator[str]:
    if check.there:
        yield f"{check.there} sources are there although the listing lacks them"
    if check.there or getattr(source, "seen_unsorted", False):
        yield "the server does not list by key: set s3.listing_order=unsorted"
    if check.unchecked:
        yield f"{check.unchecked} more seem deleted, later scans look"


def _walk(source: ImageStore, settings: Settings) -> Walk:
    automation = settings.automation
    if automation.source_list is None:
        return StoreWalk(source, automation.prefixes)
    return ListWalk(automation.source_list, source, settings.s3, complete=automation.source_list_complete)


def _start(before: Cursor, walk: Walk) -> Position | None:
    """Where the walk continues; ``None`` where a list was read to its end and has not changed."""
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
) -> tuple[Position | None, int, int]:
    """Walk on from ``start``; new sources join ``waiting``, those that are gone again leave it.

    Returns where to go on, the number of objects listed, and of those seen for the first time.
    """
    position, listed, new = start, 0, 0
    earlier = tuple(waiting.seen)
    for window in walk.windows(start, settings.automation.objects_per_tick) if start else ():
        found = comparison.window(window)
        fresh = {item.key for item in found}
        new += len(fresh - waiting.seen.keys())
        if window.complete:
            waiting.remove(key for key in earlier if window.covers(key) and key not in fresh)
        for item in found:
            waiting.add(item, now)
        listed += len(window.listed)
        position = window.next
    return position, listed, new


def _recover(
    waiting: Waiting, before: Cursor, sealed: SealedShards, output: ImageStore, dataset: str
) -> tuple[str, ...]:
    """Remove from the list what was sealed since it was written; returns the shards of a scan whose cursor
    was lost."""
    if waiting.seen:
        for shard in sealed.shards:
            if keys.shard_index(shard) >= waiting.next_index:
                manifest = read_manifest(output, dataset, shard)
                waiting.remove(entry.source_key for entry in manifest.entries)
    if waiting.tick <= before.tick:
        return ()
    return tuple(shard for shard in waiting.touched if shard in sealed.facts)


def _split(waiting: Waiting, settings: Settings, now: datetime) -> tuple[list[list[SourceObject]], Waiting]:
    """The members of the shards that are full or due, and the sources that go on waiting."""
    rest = Waiting(dict(waiting.seen))
    until = rest.due(settings.automation.max_wait_seconds)
    due = until is not None and until <= now
    shards = []
    while len(rest.seen) >= settings.shard_size or (due and rest.seen):
        shards.append(rest.take(settings.shard_size))
    return shards, rest


def _write(
    output: ImageStore,
    plan: Plan,
    seen: dict[str, tuple[SourceObject, datetime]],
    left: dict[str, tuple[SourceObject, datetime]],
    tick: int,
    next_index: int,
) -> None:
    """First the waiting list with what is about to happen, then the manifests, then what goes on waiting."""
    touched = tuple(plan.files)
    if touched:
        write_waiting(output, plan.dataset, Waiting(seen, tick, touched, next_index))
    seal(plan, output)
    after = Waiting(left, tick, touched, next_index + len(plan.new_shards))
    write_waiting(output, plan.dataset, after)
