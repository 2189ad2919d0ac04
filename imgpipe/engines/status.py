"""State of every shard, read from manifests and table footers only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from imgpipe.config import Settings
from imgpipe.engines.files import lost_outputs
from imgpipe.engines.shard import combine_digests
from imgpipe.errors import ObjectMissing, ObjectUnreadable
from imgpipe.host import usable_cores
from imgpipe.review.book import decision_digests
from imgpipe.review.build import reviewer_identity
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import steps
from imgpipe.storage.manifest_file import ManifestFacts
from imgpipe.storage.opening import Stores
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.store import ImageStore
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
    settings: Settings,
    stores: Stores,
    wanted: Mapping[str, str] | None,
    *,
    outputs: bool = False,
    shard: str | None = None,
) -> Iterator[ShardStatus]:
    """Every sealed shard in order, or one. ``wanted``: :func:`fingerprints`, ``None`` to leave them out.

    ``outputs``: also list the outputs, to find those that are missing; takes a listing per shard and stage.
    """
    reviewed = decision_digests(stores.output, settings.dataset)

    def read(facts: ManifestFacts) -> ShardStatus:
        return _shard_status(settings, stores.output, facts, wanted, reviewed, outputs)

    sealed = SealedShards(stores.output, settings.dataset)
    chosen = [facts for facts in sealed.facts.values() if shard in (None, facts.shard)]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="status") as pool:
        yield from pool.map(read, chosen)
    for damaged, exc in sealed.damaged.items():
        missing = {step.asset: State.MISSING for step in steps(settings)}
        yield ShardStatus(damaged, 0, missing, {}, stopped=str(exc))


def _shard_status(
    settings: Settings,
    output: ImageStore,
    facts: ManifestFacts,
    wanted: Mapping[str, str] | None,
    reviewed: Mapping[tuple[str, str], str],
    outputs: bool,
) -> ShardStatus:
    shard = facts.shard
    compute: dict[str, tuple[int, float]] = {}
    states: dict[str, State] = {}
    counts: dict[str, int] = {}
    rejected: dict[str, int] = {}
    digests: dict[str, str] = {}
    lost: dict[str, int] = {}
    damaged: list[str] = []
    for step in steps(settings):
        states[step.asset] = State.MISSING
        try:
            meta = read_meta(output, step.asset, settings.dataset, shard)
            if meta is None:
                continue
            gone = lost_outputs(output, step, settings.dataset, shard) if outputs else []
        except (ObjectMissing, ObjectUnreadable) as exc:
            damaged.append(str(exc))
            continue
        digests[step.asset] = meta["rows_digest"]
        counts = json.loads(meta["counts"])
        rejected = json.loads(meta.get("rejected", "{}"))  # Older tables do not count causes.
        measured = json.loads(meta["compute"])
        compute[step.asset] = (measured["images"], measured["seconds"])
        if gone:
            lost[step.asset] = len(gone)
        above = [digests.get(asset, "") for asset in step.upstream]
        if (
            gone
            or meta["manifest_digest"] != facts.digest
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
    found = (compute, facts.digest, rejected, lost, tuple(damaged))
    return ShardStatus(shard, facts.images, states, counts, facts.absent, *found)


def totals(statuses: Sequence[ShardStatus]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Images by status, and rejected ones by cause, over all shards whose quality table stands."""
    counts: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for status in statuses:
        if status.states.get(QUALITY) is not State.MISSING:
            counts.update(status.counts)
            causes.update(status.rejected)
    return counts, causes


def images_left(status: ShardStatus, asset: str) -> int:
    """At most so many images of the shard are to be computed by this asset."""
    match status.states[asset]:
        case State.MISSING | State.STALE:
            return status.images - status.deleted
        case State.FAILED:
            return status.counts.get("error", 0)
        case _:
            return 0


def seconds_per_image(statuses: Sequence[ShardStatus], asset: str) -> float | None:
    """Mean compute time, where any was measured."""
    measured = [status.compute[asset] for status in statuses if asset in status.compute]
    images = sum(count for count, _ in measured)
    return sum(seconds for _, seconds in measured) / images if images else None


def seconds_left(settings: Settings, statuses: Sequence[ShardStatus]) -> float | None:
    """About how long the rest takes on this machine, at most; ``None`` where an asset was never measured.

    By the mean compute time of an image, and as many images side by side as the stage allows.
    """
    total = 0.0
    for step in steps(settings):
        images = sum(images_left(status, step.asset) for status in statuses if not status.stopped)
        if not images:
            continue
        seconds = seconds_per_image(statuses, step.asset)
        if seconds is None:
            return None
        side_by_side = min(build_stage(step, settings).concurrency, settings.workers or usable_cores() + 2)
        total += images * seconds / side_by_side
    return total
