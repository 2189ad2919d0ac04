"""Runs one stage over one shard: keeps valid rows, computes the others, and writes the table last."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from imgpipe.config import Settings
from imgpipe.engines.deleted import as_deleted, restored
from imgpipe.engines.files import delete_replaced, existing_outputs
from imgpipe.engines.journal import Journal
from imgpipe.engines.local import ObjectRef, WorkItem, run_items
from imgpipe.engines.placing import place_by_verdict
from imgpipe.engines.rejections import count_causes
from imgpipe.engines.retry import DUE, Retry
from imgpipe.engines.review import with_decisions
from imgpipe.engines.reviewing import reviews_of, unsettled
from imgpipe.engines.stop import STOP
from imgpipe.errors import ObjectChanged, ObjectMissing
from imgpipe.pictures.reader import PictureReader
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status, count_statuses
from imgpipe.review.book import Decisions, read_decisions
from imgpipe.review.build import require_reviewer, reviewer_identity
from imgpipe.review.decisions import replacement_for
from imgpipe.stages.catalogue import QUALITY, RAW
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import Stage
from imgpipe.stages.replaceable import REPLACEMENT, ReplaceableStage
from imgpipe.stages.score import ScoreStage
from imgpipe.storage.lease import hold, require
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows, read_table, rows_digest, write_table

#: Called with (asset, shard, row, computed) for every finished row; ``computed`` is False where an earlier
#: result was kept.
RowListener = Callable[[str, str, ImageRow, bool], None]

#: In place of a manifest's digest: the table holds rows that were left outdated.
OUTDATED = "outdated"

#: Increment together with the code version of ``read``, which makes shards due, when sources with a colour
#: profile, and only they, get other results.
PROFILE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Stores:
    """Where images come from and where everything goes."""

    source: ImageStore
    output: ImageStore


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
    shard_plan = _Plan(
        step, stage, settings, stores, manifest, upstream, previous, decisions, retry, chosen, doubted
    )
    finished, items = shard_plan.split()
    items = [journal.counted(item) for item in items]

    def hear(row: ImageRow) -> None:
        on_row(step.asset, shard, row, True)
        journal.add(row)

    for row in finished.values():
        on_row(step.asset, shard, row, False)
    if isinstance(stage, ScoreStage):
        stage = stage.for_shard(dataset, shard)
    with journal.saved_on_failure():
        computed = run_items(
            ReplaceableStage(stage, step.action) if decisions.digest else stage,
            step.asset,
            items,
            stores.output,
            workers=settings.workers,
            isolation=settings.isolation,
            on_row=hear,
        )
        by_id = finished | {row.image_id: row for row in computed}
        judged = step.asset == QUALITY
        reviews = (
            reviews_of(settings, _reader(settings, stores), by_id, upstream, decisions) if judged else {}
        )
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
            "manifest_digest": OUTDATED if shard_plan.left_outdated else manifest.digest,
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


def _reader(settings: Settings, stores: Stores) -> PictureReader:
    return PictureReader(stores.source, stores.output, settings.limits, settings.isolation, settings.workers)


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


def _stands(row: ImageRow, existing: Mapping[str, int]) -> bool:
    """Whether every file of the row is there, the main one with its size (``existing``: bytes by key)."""
    named = all(key in existing for key in row.files.values())
    return named and existing.get(row.output_key) == row.size_bytes


@dataclass
class _Plan:
    """Sorts a shard's entries into finished rows and items to compute."""

    step: Step
    stage: Stage
    settings: Settings
    stores: Stores
    manifest: ShardManifest
    upstream: Mapping[str, Mapping[str, ImageRow]]
    previous: Mapping[str, ImageRow]
    decisions: Decisions
    retry: Retry
    chosen: frozenset[str] | None
    doubted: frozenset[str] = frozenset()
    left_outdated: int = 0
    kept: int = 0

    def split(self) -> tuple[dict[str, ImageRow], list[WorkItem]]:
        existing = existing_outputs(self.stores.output, self.step, self.manifest.dataset, self.manifest.shard)
        finished: dict[str, ImageRow] = {}
        items: list[WorkItem] = []
        for entry in self.manifest.entries:
            settled = self._settled(entry)
            row = settled or self._standing(entry, existing)
            self.kept += settled is None and row is not None
            if row is not None:
                finished[entry.image_id] = row
            else:
                items.append(self._item(entry))
        return finished, items

    def _settled(self, entry: ManifestEntry) -> ImageRow | None:
        """The row of an image that is not computed: its source was deleted or an earlier stage stopped it."""
        if not entry.present:
            return as_deleted(self._base(entry), self.previous.get(entry.image_id))
        for asset in self.step.upstream:
            row = self.upstream[asset].get(entry.image_id)
            if row is None:
                raise ObjectMissing(
                    f"{asset} of {self.manifest.dataset}-{self.manifest.shard} has no row for "
                    f"{entry.source_key}; its table is older than the manifest: materialize {asset} first"
                )
            if row.status is not Status.OK:
                return replace(
                    self._base(entry),
                    status=row.status,
                    stage_failed=row.stage_failed or asset,
                    error_class=row.error_class,
                    error_message=row.error_message,
                    reasons=row.reasons,
                    attempts=row.attempts,
                )
        return None

    def _standing(self, entry: ManifestEntry, existing: Mapping[str, int]) -> ImageRow | None:
        """The previous row, where it is still valid or out of scope for this run."""
        before = self.previous.get(entry.image_id)
        kept = self._kept(entry, existing)
        if self.chosen is None or before is None:
            return kept
        if entry.image_id in self.chosen:
            failed_here = before.stage_failed == self.step.asset and before.status is not Status.OK
            return None if failed_here else kept
        if kept is None and not (before.status is Status.ERROR and before.etag == entry.etag):
            self.left_outdated += 1
        return kept or before

    def _kept(self, entry: ManifestEntry, existing: Mapping[str, int]) -> ImageRow | None:
        """The previous row, where the same stage made it from the same bytes and its output exists.

        Only the stage that reads the source goes by the etag: another one with equal bytes changes nothing.
        """
        before = self.previous.get(entry.image_id)
        if before is None or before.status is Status.SKIPPED:
            return None
        if self.step.asset == RAW and (before.etag != entry.etag or entry.image_id in self.doubted):
            return None
        if before.stage_failed and before.stage_failed != self.step.asset:
            return None
        if before.stage_hash != self._stage_hash(entry, self._known_digests(entry, before)):
            return None
        if before.status is Status.ERROR:
            if self.retry.repeats(before):
                return None
        elif self.step.action.folder and not _stands(before, existing):
            return None
        return before if before.etag == entry.etag else replace(before, etag=entry.etag)

    def _known_digests(self, entry: ManifestEntry, before: ImageRow) -> dict[str, str]:
        if self.step.asset == RAW:
            return {"source": before.input_sha256}
        digests = {
            role: self.upstream[asset][entry.image_id].output_sha256 for role, asset in self.step.roles
        }
        replacement = self._replacement(entry)
        return digests if replacement is None else {**digests, REPLACEMENT: replacement.sha256}

    def _replacement(self, entry: ManifestEntry) -> ObjectRef | None:
        """The file that a person put in place of what the stage would make of this image."""
        if not self.step.action.replaceable:
            return None
        source = self.upstream[self.step.roles[0][1]][entry.image_id].output_sha256
        decision = replacement_for(self.decisions.of(entry.image_id), source)
        if decision is None:
            return None
        # It may be as large as what it replaces, but it is untrusted: it is decoded in a worker process.
        limits = self.settings.limits.for_own_files()
        return ObjectRef(self.stores.output, decision.file_key, limits, sha256=decision.file_sha256)

    def _stage_hash(self, entry: ManifestEntry, digests: Mapping[str, str]) -> str:
        facts: list[Any] = [self.stage.fingerprint, sorted(digests.items())]
        raw = self.upstream.get(RAW, {}).get(entry.image_id)
        if raw is not None and raw.details.get("icc_bytes"):
            facts.append(PROFILE_VERSION)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _base(self, entry: ManifestEntry) -> ImageRow:
        before = self.previous.get(entry.image_id)
        return ImageRow(
            source_key=entry.source_key,
            image_id=entry.image_id,
            etag=entry.etag,
            status=Status.OK,
            attempts=before.attempts if before and before.etag == entry.etag else 0,
        )

    def _item(self, entry: ManifestEntry) -> WorkItem:
        base = self._base(entry)
        rows = {asset: table[entry.image_id] for asset, table in self.upstream.items()}
        inputs = {role: self._ref(asset, entry, rows) for role, asset in self.step.roles}
        replacement = self._replacement(entry)
        if replacement is not None:
            inputs[REPLACEMENT] = replacement
        return WorkItem(
            # An error row keeps this hash of what it was made from: all that is known without its bytes.
            base=replace(
                base,
                attempts=base.attempts + 1,
                stage_hash=self._stage_hash(entry, self._known_digests(entry, base)),
            ),
            inputs=inputs,
            rows=rows,
            key_of=lambda kind: self._key(entry.image_id, kind),
            stage_hash_of=partial(self._stage_hash, entry),
            unchanged=self._unless_changed(entry),
        )

    def _unless_changed(self, entry: ManifestEntry) -> ImageRow | None:
        """The row that holds where the source's bytes turn out to be the same under another etag."""
        before = self.previous.get(entry.image_id)
        if self.step.asset != RAW or before is None or before.status is not Status.OK:
            return None
        current = before.stage_hash == self._stage_hash(entry, {"source": before.input_sha256})
        return replace(before, etag=entry.etag) if current else None

    def _ref(self, asset: str, entry: ManifestEntry, rows: Mapping[str, ImageRow]) -> ObjectRef:
        limits = self.settings.limits
        row = rows.get(asset)
        # The stage that reads the source has no row before it.
        if row is None or row.output_store == "source":
            sha256 = "" if row is None else row.output_sha256
            return ObjectRef(
                self.stores.source, entry.source_key, limits, entry.etag, sha256, entry.size_bytes
            )
        own = limits.for_own_files()
        sha256, size_bytes = row.output_sha256, row.size_bytes
        return ObjectRef(
            self.stores.output, row.output_key, own, sha256=sha256, size_bytes=size_bytes, own=True
        )

    def _key(self, image_id: str, kind: str) -> str:
        return self.step.key(self.manifest.dataset, self.manifest.shard, image_id, kind)
