"""Chooses the shards to run next: missing before stale before failed, within a budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imgpipe.config import Settings
from imgpipe.engines.retry import may_pass
from imgpipe.engines.status import ShardStatus, State, seconds_per_image
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage import keys
from imgpipe.storage.opening import Stores
from imgpipe.storage.tables import read_table

#: The order of urgency.
_URGENCY = (State.MISSING, State.STALE, State.FAILED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shard that needs a run.

    ``gpu_seconds``: estimated from what other shards took, at most (images that stand already cost nothing);
    ``None`` where nothing was measured yet. ``signature``: a hash of manifest, settings, models and code, so
    that a shard whose runs keep failing unchanged is given up.
    """

    shard: str
    why: State
    images: int
    gpu_seconds: float | None
    signature: str


def candidates(
    settings: Settings,
    stores: Stores,
    statuses: Sequence[ShardStatus],
    wanted: Mapping[str, str],
    gpu_assets: Collection[str],
) -> Iterator[Candidate]:
    """All candidates, the most urgent first; among equals the newest or the oldest, as configured.

    ``wanted``: fingerprint by asset. ``gpu_assets``: whose compute time counts as GPU time.
    """
    rate = _seconds_per_image(statuses, gpu_assets)
    newest_first = settings.automation.newest_first
    for why in _URGENCY:
        these = [status for status in statuses if status.state is why and status.pending]
        for status in sorted(these, key=lambda one: keys.shard_index(one.shard), reverse=newest_first):
            images = _images_to_do(settings, stores, status)
            if not images and why is State.FAILED:
                continue
            estimate = None if rate is None else images * rate
            yield Candidate(status.shard, why, images, estimate, signature(status, wanted))


def within_budget(
    offered: Iterator[Candidate], *, slots: int, gpu_seconds: float | None
) -> Iterator[Candidate]:
    """The first candidates that fit the budget. ``gpu_seconds``: what is left, ``None`` for no limit.

    Where nothing was measured yet, one shard is run alone to get a measurement.
    """
    left = gpu_seconds
    for candidate in offered:
        if slots <= 0 or (left is not None and left <= 0):
            return
        if left is not None:
            if candidate.gpu_seconds is None:
                yield candidate
                return
            if candidate.gpu_seconds > left and left < (gpu_seconds or 0):
                return  # A shard above the whole budget runs alone: it would never run otherwise.
            left -= candidate.gpu_seconds
        slots -= 1
        yield candidate


def _images_to_do(settings: Settings, stores: Stores, status: ShardStatus) -> int:
    if status.state is not State.FAILED:
        return status.images
    rows, _ = read_table(stores.output, QUALITY, settings.dataset, status.shard)
    return sum(may_pass(row, settings.automation.max_attempts) for row in rows)


def _seconds_per_image(statuses: Sequence[ShardStatus], gpu_assets: Collection[str]) -> float | None:
    """Sum over the assets of their mean compute time; 0 where no asset uses a GPU."""
    rates = [seconds_per_image(statuses, asset) for asset in gpu_assets]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if len(known) == len(rates) else None


def signature(status: ShardStatus, wanted: Mapping[str, str]) -> str:
    """A hash of manifest, settings, models and code; ``wanted``: fingerprint by asset."""
    text = json.dumps([status.shard, status.digest, sorted(wanted.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
