"""Jobs in a store: each is a shard of one image of the data set ``jobs``, with its settings in its manifest.

A job is brought up by the engine, without a Dagster run, into the rows, tables and files of any other shard.
So ``imgpipe files``, ``report`` and ``review`` work on jobs, and what a job has come to stands in the store
alone: nothing is lost with the process.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imgpipe.config import Settings, changed_settings
from imgpipe.engines.files import ImageFile, files_of
from imgpipe.engines.journal import Journal
from imgpipe.engines.shard import RowListener, ignore_row, run_shard
from imgpipe.errors import (
    ConfigError,
    DeviceFault,
    InferenceError,
    LeaseHeld,
    ModelError,
    ObjectExists,
    ObjectMissing,
    ObjectUnreadable,
)
from imgpipe.images.image import Image
from imgpipe.jobs.job import DATASET, Job, answer
from imgpipe.jobs.request import NAME, Order, open_sections
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest
from imgpipe.review.build import require_reviewer
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY, output_folders
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import Stage, StageResult
from imgpipe.storage import keys
from imgpipe.storage.lease import hold
from imgpipe.storage.manifest_file import manifest_to_bytes
from imgpipe.storage.manifests import list_shards, read_manifest
from imgpipe.storage.opening import Stores, open_store
from imgpipe.storage.source_record import record_source
from imgpipe.storage.tables import read_standing

_ID = re.compile(r"([0-9]{5,})-([0-9a-f]{20})")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Refused:
    """A stage that cannot work: every image gets an error row that says why."""

    why: str
    fingerprint: str = "refused"
    concurrency: int = 1

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        raise InferenceError(self.why)


def open_book(settings: Settings) -> JobBook:
    """The jobs of the configured output, which is made where it is a folder that is not there."""
    output = open_store(settings.output, settings.s3, create=True)
    source = open_store(f"{output.url}/{keys.uploads_folder(DATASET)}", settings.s3, create=True)
    record_source(output, DATASET, source.url)
    return JobBook(Stores(source, output), settings)


class JobBook:
    """The jobs in ``stores``; safe to use from several threads, and beside other processes' books."""

    def __init__(self, stores: Stores, base: Settings) -> None:
        require_reviewer(base.review)
        self.stores = stores
        self.base = base.model_copy(update={"dataset": DATASET})
        self._active: dict[str, str] = {}  # id -> state, of those that threads of this process work on
        self._lock = threading.Lock()
        self._next: int | None = None
        self._parsed = functools.lru_cache(64)(self._parse)

    def add(self, order: Order) -> Job:
        """Store the picture and seal the job's shard.

        Raises :class:`ModelError` and :class:`ConfigError` where its models cannot be had: nothing is stored.
        """
        for step in steps(order.settings):
            _ = build_stage(step, order.settings).fingerprint
        token = secrets.token_hex(10)
        key = keys.upload_key(token, order.format)
        self.stores.source.write(key, order.data)
        (found,) = self.stores.source.list(key)
        entry = ManifestEntry(key, keys.image_id(key), found.etag, found.size_bytes)
        chosen = order.settings.model_dump_json(include={"actions", *open_sections()})
        manifest = self._seal(ShardManifest(DATASET, keys.shard_name(0), (entry,), chosen))
        return Job(f"{manifest.shard}-{token}", manifest)

    def _seal(self, manifest: ShardManifest) -> ShardManifest:
        """Under the first number that is free, also for other processes."""
        with self._lock:
            if self._next is None:
                sealed = list_shards(self.stores.output, DATASET)
                self._next = keys.shard_index(sealed[-1]) + 1 if sealed else 0
            while True:
                manifest = replace(manifest, shard=keys.shard_name(self._next))
                self._next += 1
                try:
                    self._write(manifest)
                    return manifest
                except ObjectExists:
                    continue

    def _write(self, manifest: ShardManifest, *, overwrite: bool = False) -> None:
        key = keys.manifest_key(DATASET, manifest.shard)
        self.stores.output.write(key, manifest_to_bytes(manifest), overwrite=overwrite)

    def find(self, job_id: str) -> Job:
        """Raises :class:`ObjectMissing` where there is no such job."""
        match = _ID.fullmatch(job_id)
        try:
            job = self._of_shard(match[1]) if match else None
        except ObjectMissing:
            job = None
        if job is None or job.id != job_id:
            raise ObjectMissing(f"{job_id[:60]}: no such job; expected an id that POST /jobs answered")
        return job

    def _of_shard(self, shard: str) -> Job:
        manifest = read_manifest(self.stores.output, DATASET, shard)
        return Job(f"{shard}-{manifest.entries[0].source_key.partition('/')[0]}", manifest)

    def newest(self, limit: int) -> list[Job]:
        """The newest jobs, newest first."""
        return self._of_shards(list_shards(self.stores.output, DATASET)[: -limit - 1 : -1])

    def unfinished(self) -> list[Job]:
        """Jobs without a result, oldest first: what a process that ended has left."""
        tables = self.stores.output.list(keys.table_prefix(QUALITY, DATASET))
        done = {keys.shard_of_manifest(found.key) for found in tables}
        return self._of_shards(one for one in list_shards(self.stores.output, DATASET) if one not in done)

    def _of_shards(self, shards: Iterable[str]) -> list[Job]:
        """Those whose manifests can be read; of the others it is told."""
        jobs = []
        for shard in shards:
            try:
                jobs.append(self._of_shard(shard))
            except ObjectUnreadable as exc:
                log.warning("%s: left out: %s", shard, exc)
        return jobs

    def run(self, job: Job, on_row: RowListener = ignore_row, *, again: bool = False) -> None:
        """Bring a job to its result, unless it has one; ``again``: an earlier process may have died of it.

        Errors of the picture, of models and of settings are results. Raises :class:`LeaseHeld` where
        another process computes it, and whatever stops the work as a whole.
        """
        if not self._enter(job):
            return

        def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            if asset == QUALITY and self.base.review.enabled:
                self._active[job.id] = "review"
            on_row(asset, shard, row, computed)

        try:
            with hold(self.stores.output, DATASET, job.shard, sleep=None):
                if QUALITY not in self.rows(job):
                    self._run_chain(job, listen, again)
        finally:
            self._active.pop(job.id, None)
        if not self.find(job.id).entry.present:  # It was deleted meanwhile.
            self._clear(job)

    def _run_chain(self, job: Job, on_row: RowListener, again: bool) -> None:
        settings, fault = self._parsed(job.manifest.settings)
        for step in steps(settings):
            stage: Stage = _Refused(fault) if fault else build_stage(step, settings)
            if again and self._deaths(step, job) >= self.base.automation.max_attempts:
                stage = _Refused(
                    f"{NAME}: the process ended {self.base.automation.max_attempts} times while "
                    f"{step.asset} was computed, so it is not tried again"
                )
            try:
                run_shard(step, stage, settings, self.stores, job.shard, on_row=on_row)
            except DeviceFault:
                raise  # no word on the picture: the job stays without a result
            except (ModelError, ConfigError) as exc:
                refused = _Refused(f"{type(exc).__name__}: {exc}")
                run_shard(step, refused, settings, self.stores, job.shard, on_row=on_row)

    def _parse(self, text: str) -> tuple[Settings, str]:
        """A job's settings, and why they cannot be used: they may be those of another version of imgpipe."""
        try:
            return changed_settings(self.base, json.loads(text)), ""
        except ConfigError as exc:
            return self.base, str(exc)

    def _deaths(self, step: Step, job: Job) -> int:
        journal = Journal(self.stores.output, step.asset, DATASET, job.shard)
        return journal.attempts_of_killed(job.entry.image_id)

    def remove(self, job: Job) -> None:
        """Leave rows that say ``skipped``, and no files; a job that is being computed ends like that."""
        entry = replace(job.entry, present=False)
        self._write(replace(job.manifest, entries=(entry,)), overwrite=True)
        self._clear(job)

    def _clear(self, job: Job) -> None:
        """Whoever works on the job at this moment looks for its deletion afterwards, and does this."""
        if not self._enter(job):
            return
        output = self.stores.output
        try:
            with hold(output, DATASET, job.shard, sleep=None):
                self._run_chain(job, ignore_row, again=False)
                prefixes = [
                    p for name in output_folders() for p in keys.image_prefixes(name, DATASET, job.shard)
                ]
                prefixes += [keys.decision_prefix(DATASET, asset, job.shard) for asset in self.assets(job)]
                for key in [found.key for prefix in prefixes for found in output.list(prefix)]:
                    output.delete(key)
            self.stores.source.delete(job.entry.source_key)
        except LeaseHeld:
            log.info("%s: cleared by the process that works on it", job.id)
        finally:
            self._active.pop(job.id, None)

    def _enter(self, job: Job) -> bool:
        """Whether no other thread works on it; a lease tells processes apart only."""
        with self._lock:
            free = job.id not in self._active
            self._active.setdefault(job.id, "running")
            return free

    def assets(self, job: Job) -> list[str]:
        """Its assets in the order in which they are made."""
        return [step.asset for step in steps(self._parsed(job.manifest.settings)[0])]

    def rows(self, job: Job) -> dict[str, ImageRow]:
        """asset -> its row, of the tables that stand."""
        tables = read_standing(self.stores.output, self.assets(job), DATASET, job.shard)
        return {asset: table[job.entry.image_id] for asset, table in tables.items()}

    def state(self, job: Job, rows: Mapping[str, ImageRow] | None = None) -> str:
        """``waiting``, ``running``, ``review`` (a reviewer is asked, by this process), ``finished`` or
        ``deleted``."""
        if not job.entry.present:
            return "deleted"
        if QUALITY in (self.rows(job) if rows is None else rows):
            return "finished"
        held = any(True for _ in self.stores.output.list(keys.lease_prefix(DATASET, job.shard)))
        return self._active.get(job.id) or ("running" if held else "waiting")

    def describe(self, job: Job) -> dict[str, Any]:
        """Ids, state, progress, and for a finished job its status and :meth:`answer`."""
        rows = self.rows(job)
        state = self.state(job, rows)
        said = {
            "job_id": job.id,
            "image_id": job.entry.image_id,
            "state": state,
            "actions": list(job.actions),
            "progress": {"done": len(rows), "of": len(self.assets(job))},
        }
        if state != "finished":
            return said
        return {**said, "status": rows[QUALITY].status, **self.answer(job, rows)}

    def files(self, job: Job) -> list[ImageFile]:
        """Every file of the job, in the order in which they were made."""
        if not job.entry.present:
            return []
        return list(files_of(self.stores.output, DATASET, job.shard, job.entry.image_id))

    def answer(self, job: Job, rows: Mapping[str, ImageRow] | None = None) -> dict[str, Any]:
        """What a finished job has come to; see :func:`~imgpipe.jobs.job.answer`."""
        uri = self.stores.source.uri(job.entry.source_key)
        return answer(job.actions, rows or self.rows(job), self.stores.output, self.base, uri)

    def picture(self, job: Job) -> ImageFile:
        """The last picture of a finished job."""
        return next(file for file in reversed(self.files(job)) if file.asset != QUALITY)

    def read(self, job: Job, name: str) -> bytes:
        """One of :meth:`files`; raises :class:`ObjectMissing` for another name."""
        for file in self.files(job):
            if file.name == name:
                store, key = (
                    (self.stores.output, file.key) if file.key else (self.stores.source, file.address)
                )
                return store.read(key)
        raise ObjectMissing(f"{name[:60]}: no file of this job; its files are listed at /jobs/{job.id}/files")
