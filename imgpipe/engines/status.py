"""State of every shard, read from manifests and table footers only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from imgpipe.config import Settings
from imgpipe.engines.shard import Stores, combine_digests
from imgpipe.review.book import decision_digests
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import Step, steps
from imgpipe.storage.manifest_file import ManifestFacts
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.tables import read_meta

_READERS = 16


class State(StrEnum):
    """State of one asset's table for one shard."""

    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: its size, the state of every asset and the counts of the last one that has a table.

    ``deleted``: images whose source is gone. ``compute``: asset -> (images with a measured compute step,
    its seconds). ``digest``: the manifest's. ``rejected``: rejected images of that table by cause.
    """

    shard: str
    images: int
    states: Mapping[str, State]
    counts: Mapping[str, int]
    deleted: int = 0
    compute: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    digest: str = ""
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The least finished of its assets' states."""
        return min(self.states.values(), key=list(State).index)

    @property
    def pending(self) -> bool:
        """True where ``run`` has something to do: a missing or outdated table, or failed images."""
        return self.state is not State.COMPLETE


def fingerprints(settings: Settings) -> dict[str, str]:
    """Fingerprint by asset; raises :class:`ModelError` where configured weights cannot be had."""
    return {step.asset: build_stage(step, settings).fingerprint for step in steps(settings)}


def shard_statuses(
    settings: Settings, stores: Stores, wanted: Mapping[str, str] | None
) -> Iterator[ShardStatus]:
    """Every sealed shard in order. ``wanted``: :func:`fingerprints`, or ``None`` to leave them out."""
    reviewed = decision_digests(stores.output, settings.dataset)
    chain = steps(settings)

    def read(facts: ManifestFacts) -> ShardStatus:
        return _shard_status(settings, stores, facts, wanted, chain, reviewed)

    sealed = SealedShards(stores.output, settings.dataset)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="status") as pool:
        yield from pool.map(read, sealed.facts.values())


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
    for step in chain:
        meta = read_meta(stores.output, step.asset, settings.dataset, shard)
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
            or (wanted is not None and meta["fingerprint"] != wanted[step.asset])
        ):
            states[step.asset] = State.STALE
        elif counts["error"]:
            states[step.asset] = State.FAILED
        else:
            states[step.asset] = State.COMPLETE
    return ShardStatus(shard, facts.images, states, counts, facts.absent, compute, facts.digest, rejected)


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
