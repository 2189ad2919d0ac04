"""Sorts the images of a shard: which rows still stand, which images one stage computes, and from what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from imgpipe.config import Settings
from imgpipe.engines.deleted import as_deleted
from imgpipe.engines.files import existing_outputs
from imgpipe.engines.retry import Retry
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.errors import ObjectMissing
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status
from imgpipe.review.book import Decisions
from imgpipe.review.decisions import replacement_for
from imgpipe.stages.catalogue import RAW
from imgpipe.stages.chain import Step
from imgpipe.stages.protocol import Stage
from imgpipe.stages.read import DECODER_VERSIONS, ReadStage
from imgpipe.stages.replaceable import REPLACEMENT
from imgpipe.storage.opening import Stores

#: Increment together with the code version of ``read``, which makes shards due, when sources with a colour
#: profile, and only they, get other results.
PROFILE_VERSION = 2


@dataclass(frozen=True, slots=True)
class StageHash:
    """The ``stage_hash`` of one image's row: hash of what its result depends on.

    ``has_profile``: its source has a colour profile. ``picture_sha256``: of the decoded source, where it
    counts.
    """

    stage: Stage
    has_profile: bool
    picture_sha256: str | None

    def __call__(self, digests: Mapping[str, str], source_format: str = "") -> str:
        """``digests``: sha256 by role. Without a format (nothing could be decoded), a new version of any
        decoder counts."""
        if isinstance(self.stage, ReadStage) and source_format:
            fingerprint = self.stage.fingerprint_of(source_format)
        else:
            fingerprint = self.stage.fingerprint
        facts: list[Any] = [fingerprint, sorted(digests.items())]
        if self.has_profile:
            facts.append(PROFILE_VERSION)
        if self.picture_sha256 is not None:
            facts.append(self.picture_sha256)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass
class ShardPlan:
    """Sorts a shard's entries into finished rows and items to compute.

    ``chosen``: ids of the images that may be computed, ``None`` for all; ``doubted``: those whose source is
    read again. ``left_outdated`` and ``kept`` count rows, once :meth:`split` was called.
    """

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
        """The rows that stand, by image id, and what is to be computed."""
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
        if before.stage_hash not in self._valid_hashes(entry, before):
            return None
        if before.status is Status.ERROR:
            if self.retry.repeats(before):
                return None
        elif self.step.action.folder and not _stands(before, existing):
            return None
        return before if before.etag == entry.etag else replace(before, etag=entry.etag)

    def _valid_hashes(self, entry: ManifestEntry, before: ImageRow) -> Iterator[str]:
        """What the row's hash may be: also that of a time when sources' rows had no digest of the picture,
        where the format's decoder has not changed since."""
        digests = self._known_digests(entry, before)
        yield self._hash_of(entry)(digests, before.format)
        raw = self.upstream.get(RAW, {}).get(entry.image_id)
        if raw is not None and raw.format not in DECODER_VERSIONS:
            yield self._hash_of(entry, by_picture=False)(digests, before.format)

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

    def _hash_of(self, entry: ManifestEntry, *, by_picture: bool = True) -> StageHash:
        """``by_picture``: what was decoded counts, beside the file's bytes."""
        raw = self.upstream.get(RAW, {}).get(entry.image_id)
        details = raw.details if raw is not None else {}
        # Equal bytes may be decoded differently by now.
        counts = by_picture and RAW in dict(self.step.roles).values()
        seen = details.get("picture_sha256") if counts else None
        return StageHash(self.stage, bool(details.get("icc_bytes")), seen)

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
                stage_hash=self._hash_of(entry)(self._known_digests(entry, base)),
            ),
            inputs=inputs,
            rows=rows,
            key_of=partial(self.step.key, self.manifest.dataset, self.manifest.shard, entry.image_id),
            stage_hash_of=self._hash_of(entry),
            unchanged=self._unless_changed(entry),
        )

    def _unless_changed(self, entry: ManifestEntry) -> ImageRow | None:
        """The row that holds where the source's bytes turn out to be the same under another etag."""
        before = self.previous.get(entry.image_id)
        if self.step.asset != RAW or before is None or before.status is not Status.OK:
            return None
        current = before.stage_hash == self._hash_of(entry)({"source": before.input_sha256}, before.format)
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


def _stands(row: ImageRow, existing: Mapping[str, int]) -> bool:
    """Whether every file of the row is there, the main one with its size (``existing``: bytes by key)."""
    named = all(key in existing for key in row.files.values())
    return named and existing.get(row.output_key) == row.size_bytes
