"""What is done and what is not, read from manifests and table footers alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgpipe.config import Settings
from imgpipe.engines.shard import Stores, combine_digests
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import QUALITY, Step, steps
from imgpipe.storage.manifests import list_shards, read_manifest
from imgpipe.storage.tables import read_meta


class State(StrEnum):
    """What one asset's table says of one shard."""

    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: its size, the state of every asset and the counts of the last one that has a table."""

    shard: str
    images: int
    states: Mapping[str, State]
    counts: Mapping[str, int]

    @property
    def state(self) -> State:
        """The least finished of its assets' states."""
        return min(self.states.values(), key=list(State).index)

    @property
    def pending(self) -> bool:
        """True where ``run`` has something to do: nothing made yet, out of date, or failed images."""
        return self.state is not State.COMPLETE


def fingerprints(settings: Settings) -> dict[str, str]:
    """Fingerprint by asset; raises :class:`ModelError` where configured weights cannot be had."""
    return {step.asset: build_stage(step, settings).fingerprint for step in steps(settings)}


def shard_statuses(
    settings: Settings, stores: Stores, wanted: Mapping[str, str] | None
) -> Iterator[ShardStatus]:
    """Every sealed shard in order. ``wanted``: :func:`fingerprints`, or ``None`` to leave them out."""
    for shard in list_shards(stores.output, settings.dataset):
        yield _shard_status(settings, stores, shard, wanted, steps(settings))


def _shard_status(
    settings: Settings, stores: Stores, shard: str, wanted: Mapping[str, str] | None, chain: Sequence[Step]
) -> ShardStatus:
    manifest = read_manifest(stores.output, settings.dataset, shard)
    states: dict[str, State] = {}
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for step in chain:
        meta = read_meta(stores.output, step.asset, settings.dataset, shard)
        if meta is None:
            states[step.asset] = State.MISSING
            continue
        digests[step.asset] = meta["rows_digest"]
        counts = json.loads(meta["counts"])
        above = [digests.get(asset, "") for asset in step.upstream]
        if (
            meta["manifest_digest"] != manifest.digest
            or meta["upstream_digest"] != combine_digests(above)
            or (wanted is not None and meta["fingerprint"] != wanted[step.asset])
        ):
            states[step.asset] = State.STALE
        elif counts["error"]:
            states[step.asset] = State.FAILED
        else:
            states[step.asset] = State.COMPLETE
    return ShardStatus(shard, len(manifest.entries), states, counts)


def total_counts(statuses: Sequence[ShardStatus]) -> dict[str, int]:
    """Counts by status over all shards whose quality table stands."""
    totals: dict[str, int] = {}
    for status in statuses:
        if status.states.get(QUALITY) is State.MISSING:
            continue
        for name, count in status.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals
