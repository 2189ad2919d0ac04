"""Runs one stage over one shard: keeps valid rows, computes the others, and writes the table last."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgpipe.config import Settings
from imgpipe.engines.deleted import restored
from imgpipe.engines.due import ShardPlan
from imgpipe.engines.files import delete_replaced
from imgpipe.engines.journal import Journal
from imgpipe.engines.kept import KEPT
from imgpipe.engines.local import run_items
from imgpipe.engines.parcels import Bench, Order
from imgpipe.engines.placing import place_by_verdict
from imgpipe.engines.ray_pool import RayPool
from imgpipe.engines.rejections import count_causes
from imgpipe.engines.retry import DUE, Retry
from imgpipe.engines.review import with_decisions
from imgpipe.engines.reviewing import reviews_of, unsettled
from imgpipe.engines.rounds import run_in_rounds
from imgpipe.engines.stop import STOP
from imgpipe.engines.work import WorkItem
from imgpipe.errors import ConfigError, ObjectChanged, ObjectMissing
from imgpipe.pictures.reader import PictureReader
from imgpipe.records import ImageRow, count_statuses
from imgpipe.review.book import read_decisions
from imgpipe.review.build import require_reviewer, reviewer_identity
from imgpipe.stages.catalogue import QUALITY, RAW
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import Stage
from imgpipe.storage.lease import hold, honours_conditional_writes, require
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.opening import Stores
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import (
    MANIFEST_DIGEST,
    OUTDATED,
    read_intact_rows,
    read_table,
    rows_digest,
    write_table,
)

#: Called with (asset, shard, row, computed) for every finished row; ``computed`` is False where an earlier
#: result was kept.
RowListener = Callable[[str, str, ImageRow, bool], None]
#: Addresses of stores that were found to refuse a second write of a name.
_with_leases: set[str] = set()


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A finished table and what it took.

    ``computed`` and ``kept``: images that this stage made now and earlier; the rest was skipped, or had
    been stopped by an earlier stage.
    """

    asset: str
    dataset: str
    shard: str
    rows: tuple[ImageRow, ...]
    computed: int
    kept: int
    wall_seconds: float

    @property
    def counts(self) -> dict[str, int]:
        return count_statuses(self.rows)


def ignore_row(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
    """The listener of a run that shows no progress."""


def run_shard(
    step: Step,
    stage: Stage,
    settings: Settings,
    stores: Stores,
    shard: str,
    *,
    retry: Retry = DUE,
    on_row: RowListener = ignore_row,
) -> ShardResult:
    """Bring one asset's table for one shard up to date and write it, last of all.

    ``retry``: which failures are tried again. Where it leaves outdated rows as they are, the table says so,
    and the shard stays stale.

    One process at a time works on a shard (:mod:`imgpipe.storage.lease`); another one is waited for.

    Raises :class:`ObjectMissing` where the manifest or an upstream table is not there yet, and
    whatever stops a whole run (:class:`ModelError`, :class:`StoreUnavailable`).
    """
    with hold(stores.output, settings.dataset, shard, sleep=STOP.sleep) as lease:

        def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            lease.require()
            on_row(asset, shard, row, computed)

        return _run_held(step, stage, settings, stores, shard, retry, listen)


def _run_held(
    step: Step,
    stage: Stage,
    settings: Settings,
    stores: Stores,
    shard: str,
    retry: Retry,
    on_row: RowListener,
) -> ShardResult:
    start = time.perf_counter()
    require_reviewer(settings.review)  # Before the first stage of a run.
    dataset = settings.dataset
    manifest = read_manifest(stores.output, dataset, shard)
    upstream, upstream_digest = _read_upstream(step, stores.output, dataset, shard)
    journal = Journal(stores.output, step.asset, dataset, shard)
    earlier = {**(read_intact_rows(stores.output, step.asset, dataset, shard) or {}), **journal.rows}
    previous = {image_id: restored(row) for image_id, row in earlier.items()}
    decisions = read_decisions(stores.output, dataset, step.asset, shard)
    chosen = retry.chosen(stores.output, [one.asset for one in steps(settings)], dataset, shard)
    doubted = _doubted(settings, stores.output, shard) if step.asset == RAW else frozenset()
    shard_plan = ShardPlan(
        step, stage, settings, stores, manifest, upstream, previous, decisions, retry, chosen, doubted
    )
    finished, items = shard_plan.split()
    items = [journal.counted(item) for item in items]

    def hear(row: ImageRow) -> None:
        on_row(step.asset, shard, row, True)
        # Rows of a cluster come by the chunk, to one thread.
        journal.add(row, at_once=settings.engine == "local")

    for row in finished.values():
        on_row(step.asset, shard, row, False)
    order = Order(settings, step.asset, shard, stage.fingerprint, replaceable=bool(decisions.digest))
    with journal.kept():
        computed = _compute(order, Bench(step, stage, stores), items, hear)
        by_id = finished | {row.image_id: row for row in computed}
        judged = step.asset == QUALITY
        if judged:
            KEPT.shrink(0)  # Nothing reads what is left.
        reader = PictureReader.of(settings, stores)
        reviews = reviews_of(settings, reader, by_id, upstream, decisions) if judged else {}
    require(stores.output, dataset, shard)  # Before files are moved and the table is written.
    rows = tuple(
        with_decisions(
            step, by_id[entry.image_id], decisions, upstream, stores.output, reviews.get(entry.image_id)
        )
        for entry in manifest.entries
    )
    if judged:
        place_by_verdict(stores.output, dataset, shard, rows, upstream)
    write_table(
        stores.output,
        step.asset,
        dataset,
        shard,
        rows,
        meta={
            MANIFEST_DIGEST: OUTDATED if shard_plan.left_outdated else manifest.digest,
            "fingerprint": stage.fingerprint,
            "upstream_digest": upstream_digest,
            "review_digest": decisions.digest,
            "rows_digest": rows_digest(rows),
            "counts": json.dumps(count_statuses(rows)),
            "rejected": json.dumps(count_causes(rows)),
            "compute": json.dumps(_compute_time(rows)),
            "reviewer": reviewer_identity(settings.review) if judged else "",
            "unsettled": str(unsettled(rows)),
        },
    )
    journal.discard()
    delete_replaced(stores.output, previous, rows)
    seconds = time.perf_counter() - start
    return ShardResult(step.asset, dataset, shard, rows, len(items), shard_plan.kept, seconds)


def _compute(
    order: Order, bench: Bench, items: Sequence[WorkItem], on_row: Callable[[ImageRow], None]
) -> list[ImageRow]:
    """A row for each item, by the configured engine."""
    settings = order.settings
    if settings.engine == "ray" and items:
        _require_leases(bench.stores.output)
        return run_in_rounds(RayPool(order, bench), order.asset, items, settings.ray.chunk, on_row)
    return run_items(
        order.equip(bench.stage),
        order.asset,
        items,
        bench.stores.output,
        workers=settings.workers,
        isolation=settings.isolation,
        on_row=on_row,
    )


def _require_leases(store: ImageStore) -> None:
    """Raise :class:`ConfigError` where several machines could take themselves for a shard's only one."""
    if store.url not in _with_leases and not honours_conditional_writes(store):
        raise ConfigError(
            f"{store.url}: the server ignores If-None-Match, so two runs could work on one shard at the same "
            "time; "
            "engine ray needs a server that knows it (imgpipe doctor tells), or use engine local, one run at "
            "a time"
        )
    _with_leases.add(store.url)


def combine_digests(digests: list[str]) -> str:
    """One digest for the tables that a stage reads, in chain order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _read_upstream(
    step: Step, output: ImageStore, dataset: str, shard: str
) -> tuple[dict[str, dict[str, ImageRow]], str]:
    tables: dict[str, dict[str, ImageRow]] = {}
    digests: list[str] = []
    for asset in step.upstream:
        try:
            rows, meta = read_table(output, asset, dataset, shard)
        except ObjectMissing as exc:
            raise ObjectMissing(
                f"{step.asset} of {dataset}-{shard} needs the table of {asset}, which is not there; "
                f"materialize {asset} for this partition first"
            ) from exc
        tables[asset] = {row.image_id: row for row in rows}
        digests.append(meta["rows_digest"])
    return tables, combine_digests(digests)


def _doubted(settings: Settings, output: ImageStore, shard: str) -> frozenset[str]:
    """Images whose bytes were not those of their row when a later stage read them: a source that changed
    under the same etag is read again."""
    last = steps(settings)[-1].asset
    rows = read_intact_rows(output, last, settings.dataset, shard) or {}
    return frozenset(name for name, row in rows.items() if row.error_class == ObjectChanged.__name__)


def _compute_time(rows: Sequence[ImageRow]) -> dict[str, float]:
    """Images that have a measured compute step, and its seconds: what a shard like this one takes."""
    times = [row.seconds["compute"] for row in rows if "compute" in row.seconds]
    return {"images": len(times), "seconds": round(sum(times), 3)}
