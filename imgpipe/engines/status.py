"""State of every shard, read from manifests and table footers only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum

from imgpipe.config import Settings
from imgpipe.engines.files import lost_outputs
from imgpipe.engines.shard import Stores, combine_digests
from imgpipe.errors import ObjectMissing, ObjectUnreadable
from imgpipe.review.book import decision_digests
from imgpipe.review.build import reviewer_identity
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import Step, steps
from imgpipe.storage.manifest_file import ManifestFacts
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.tables import read_meta

_READERS = 16


class State(StrEnum):
    """One asset's table for one shard. ``failed``: with errors, or images that are still to be reviewed."""

    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: its size, the state of every asset and the counts of the last one that has a table.

    ``deleted``: images whose source is gone. ``compute``: asset -> (images with a measured compute step,
    its seconds). ``digest``: the manifest's. ``rejected``: rejected images of that table by cause.
    ``lost``: asset -> number of files that its table names and that are gone or have another size.
    ``damaged``: what is wrong with tables that cannot be read (they count as missing).
    ``stopped``: why nothing can be done about this shard, empty where it can.
    """

    shard: str
    images: int
    states: Mapping[str, State]
    counts: Mapping[str, int]
    deleted: int = 0
    compute: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    digest: str = ""
    rejected: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    stopped: str = ""

    @property
    def state(self) -> State:
        """The least finished of its assets' states."""
        return min(self.states.values(), key=list(State).index)

    @property
    def pending(self) -> bool:
        """True where ``run`` has something to do: a missing or outdated table, or failed images."""
        return self.state is not State.COMPLETE and not self.stopped


def fingerprints(settings: Settings) -> dict[str, str]:
    """Fingerprint by asset; raises :class:`ModelError` where configured weights cannot be had."""
    return {step.asset: build_stage(step, settings).fingerprint for step in steps(settings)}


def shard_statuses(
    settings: Settings, stores: Stores, wanted: Mapping[str, str] | None, *, outputs: bool = False
) -> Iterator[ShardStatus]:
    """Every sealed shard in order. ``wanted``: :func:`fingerprints`, or ``None`` to leave them out.

    ``outputs``: also list the outputs, to find those that are missing; takes a listing per shard and stage.
    """
    reviewed = decision_digests(stores.output, settings.dataset)
    chain = steps(settings)

    def read(facts: ManifestFacts) -> ShardStatus:
        status = _shard_status(settings, stores, facts, wanted, chain, reviewed)
        return _with_losses(status, settings, stores, chain) if outputs else status

    sealed = SealedShards(stores.output, settings.dataset)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="status") as pool:
        yield from pool.map(read, sealed.facts.values())
    for shard, exc in sealed.damaged.items():
        missing = dict.fromkeys((step.asset for step in chain), State.MISSING)
        yield ShardStatus(shard, 0, missing, {}, stopped=str(exc))


def _shard_status(
    settings: Settings,
    stores: Stores,
    facts: ManifestFacts,
    wanted: Mapping[str, str] | None,
    chain: Sequence[Step],
    reviewed: Mapping[tuple[str, str], str],
) -> ShardStatus:
    shard = facts.shard
    compute: dict[str, tuple[int, float]] = {}
    states: dict[str, State] = {}
    counts: dict[str, int] = {}
    rejected: dict[str, int] = {}
    digests: dict[str, str] = {}
    damaged: list[str] = []
    for step in chain:
        try:
            meta = read_meta(stores.output, step.asset, settings.dataset, shard)
        except ObjectUnreadable as exc:
            damaged.append(str(exc))
            meta = None
        if meta is None:
            states[step.asset] = State.MISSING
            continue
        digests[step.asset] = meta["rows_digest"]
        counts = json.loads(meta["counts"])
        rejected = json.loads(meta.get("rejected", "{}"))  # Older tables do not count causes.
        measured = json.loads(meta["compute"])
        compute[step.asset] = (measured["images"], measured["seconds"])
        above = [digests.get(asset, "") for asset in step.upstream]
        if (
            meta["manifest_digest"] != facts.digest
            or meta["upstream_digest"] != combine_digests(above)
            or meta["review_digest"] != reviewed.get((step.asset, shard), "")
            or (step.asset == QUALITY and meta.get("reviewer", "") != reviewer_identity(settings.review))
            or (wanted is not None and meta["fingerprint"] != wanted[step.asset])
        ):
            states[step.asset] = State.STALE
        elif counts["error"] or int(meta.get("unsettled", 0)):
            states[step.asset] = State.FAILED
        else:
            states[step.asset] = State.COMPLETE
    return ShardStatus(
        shard,
        facts.images,
        states,
        counts,
        facts.absent,
        compute,
        facts.digest,
        rejected,
        damaged=tuple(damaged),
    )


def _with_losses(
    status: ShardStatus, settings: Settings, stores: Stores, chain: Sequence[Step]
) -> ShardStatus:
    """The status with what is missing among the outputs; their assets are stale."""
    states, lost, damaged = dict(status.states), {}, list(status.damaged)
    for step in chain:
        if states[step.asset] is State.MISSING:
            continue
        try:
            gone = lost_outputs(stores.output, step, settings.dataset, status.shard)
        except (ObjectMissing, ObjectUnreadable) as exc:
            damaged.append(str(exc))
            states[step.asset] = State.MISSING
            continue
        if gone:
            lost[step.asset] = len(gone)
            states[step.asset] = State.STALE
    return replace(status, states=states, lost=lost, damaged=tuple(damaged))


def total_counts(statuses: Sequence[ShardStatus]) -> dict[str, int]:
    """Counts by status over all shards whose quality table stands."""
    totals: Counter[str] = Counter()
    for status in statuses:
        if status.states.get(QUALITY) is not State.MISSING:
            totals.update(status.counts)
    return dict(totals)


def total_causes(statuses: Sequence[ShardStatus]) -> dict[str, int]:
    """Rejected images by cause over the same shards."""
    totals: Counter[str] = Counter()
    for status in statuses:
        if status.states.get(QUALITY) is not State.MISSING:
            totals.update(status.rejected)
    return dict(totals)
