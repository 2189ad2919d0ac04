"""Bounded threads on one machine: read and decode | compute | encode and write.

Every image is one job that goes through the three steps by itself; a semaphore lets only as many
compute as the stage allows. So while a network works on one image, its neighbours are decoded and
written. No more than ``workers`` images are in memory at any time, and no more than
:mod:`~imgpipe.engines.admission` lets in.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from imgpipe.engines.admission import MemoryBudget, needed_bytes, shared
from imgpipe.engines.kept import KEPT
from imgpipe.engines.stop import GRACE_SECONDS, STOP, Stopped
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.errors import PER_IMAGE_ERRORS, ImgpipeError, LimitExceeded, ObjectChanged
from imgpipe.host import usable_cores
from imgpipe.images.decoder import Decoder, InProcessDecoder, source_decoder
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.image import Image
from imgpipe.inference.admitted_memory import MoreMemoryNeeded, growing_by
from imgpipe.inference.threads import bound_pools
from imgpipe.records import ImageRow, Status
from imgpipe.settings import IsolationSettings
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.protocol import Stage, StageResult
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

log = logging.getLogger(__name__)

Made = TypeVar("Made")

#: Files above this size are read one at a time, since their need of memory is known once they are read.
_LARGE_FILE_BYTES = 2**24
#: For commands on one picture: a decoder that crashes ends nothing else.
NO_ISOLATION = IsolationSettings(mode="none")


@dataclass(frozen=True, slots=True)
class _Tools:
    """What all jobs of one call share. ``followed``: a later step reads the same sources."""

    stage: Stage
    output: ImageStore
    compute_slots: threading.BoundedSemaphore
    decoder: Decoder
    memory: MemoryBudget
    followed: bool
    reading_large: threading.Lock = field(default_factory=threading.Lock)

    def decoder_of(self, ref: ObjectRef) -> Decoder:
        """In this process what imgpipe wrote."""
        return InProcessDecoder() if ref.own else self.decoder


@dataclass
class _Clock:
    """Seconds by step name, added up."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_items(
    stage: Stage,
    asset: str,
    items: Sequence[WorkItem],
    output: ImageStore,
    *,
    workers: int = 0,
    isolation: IsolationSettings = NO_ISOLATION,
    on_row: Callable[[ImageRow], None] = lambda row: None,
) -> list[ImageRow]:
    """Compute all items; rows in the order of ``items``, exactly one each.

    An error of one image becomes a row with ``status=error``. A :class:`ModelError` or
    :class:`StoreUnavailable` stops the run, after the jobs in flight; so does a request to stop
    (:class:`~imgpipe.engines.stop.Stopped`), which waits for them :data:`GRACE_SECONDS` at most. ``on_row``
    hears of every image that was finished.
    """
    if not items:
        return []
    limit = workers or usable_cores() + 2
    bound_pools(min(limit, len(items)))
    count = stage.concurrency
    slots = shared((stage.fingerprint, count), lambda: threading.BoundedSemaphore(count))
    limits = next(iter(items[0].inputs.values())).limits
    decoder, bound = source_decoder(isolation, workers), limits.max_memory_bytes
    memory = shared(bound, lambda: MemoryBudget(bound))
    tools = _Tools(stage, output, slots, decoder, memory, asset != QUALITY)
    pool = ThreadPoolExecutor(limit, thread_name_prefix=f"imgpipe-{asset}")
    jobs = [pool.submit(_process, tools, asset, item) for item in items]
    unheard = set(jobs)
    try:
        for job in as_completed(jobs):
            unheard.discard(job)
            on_row(job.result())
    except BaseException as exc:
        pool.shutdown(wait=False, cancel_futures=True)
        # Other errors leave no thread behind; a stop must come to an end, as its sender may kill next.
        in_flight = [job for job in unheard if not job.cancelled()]
        for job in wait(in_flight, timeout=None if isinstance(exc, Exception) else GRACE_SECONDS).done:
            if job.exception() is None:
                on_row(job.result())
        raise
    pool.shutdown()
    return [job.result() for job in jobs]


def as_completed(jobs: Sequence[Future[Made]]) -> Iterator[Future[Made]]:
    """The jobs as they finish; raises :class:`Stopped` as soon as a stop is requested."""
    finished: queue.SimpleQueue[Future[Made] | None] = queue.SimpleQueue()
    with STOP.heard_by(lambda: finished.put(None)):
        for job in jobs:
            job.add_done_callback(finished.put)
        for _ in jobs:
            done = finished.get()
            if done is None:
                raise Stopped("a stop was requested")
            yield done


def _process(tools: _Tools, asset: str, item: WorkItem) -> ImageRow:
    row = _row_of(tools, asset, item)
    item.end(row)
    return row


def _row_of(tools: _Tools, asset: str, item: WorkItem) -> ImageRow:
    clock = _Clock()
    try:
        item.begin()
        extra_bytes, row = 0, None
        while row is None:
            try:
                row = _compute(tools, item, clock, extra_bytes)
            except MoreMemoryNeeded as exc:  # Nothing is held while it waits for more.
                extra_bytes += exc.extra_bytes
        return replace(row, stage_failed=asset) if row.status is Status.REJECTED else row
    except PER_IMAGE_ERRORS as exc:
        return error_row(item.base, asset, exc, clock.seconds)
    except ImgpipeError:
        raise
    except Exception as exc:
        # A defect of imgpipe must neither stop the shard nor be hidden: the log has the trace.
        log.exception("%s: unexpected error for %s", asset, item.base.source_key)
        return error_row(item.base, asset, exc, clock.seconds)


def _compute(tools: _Tools, item: WorkItem, clock: _Clock, extra_bytes: int) -> ImageRow:
    """``extra_bytes``: what it was found to need beyond what its stage said."""
    with ExitStack() as admitted:
        large = any(ref.size_bytes > _LARGE_FILE_BYTES for ref in item.inputs.values())
        with tools.reading_large if large else nullcontext():
            files, digests = _read(item, clock)
            if item.unchanged is not None and not files:
                return item.unchanged
            limits = {role: ref.limits for role, ref in item.inputs.items()}
            decoders = {role: tools.decoder_of(ref) for role, ref in item.inputs.items()}
            needed = needed_bytes(tools.stage, files, limits, decoders)
            grow = admitted.enter_context(tools.memory.admit(needed + extra_bytes, item.base.source_key))
            if not extra_bytes:
                admitted.enter_context(growing_by(grow))
        return _compute_admitted(tools, item, files, digests, clock)


def _compute_admitted(
    tools: _Tools, item: WorkItem, files: dict[str, bytes], digests: Mapping[str, str], clock: _Clock
) -> ImageRow:
    sizes = {role: len(data) for role, data in files.items()}
    images = _decode(tools, item, files, digests, clock)
    with tools.compute_slots, clock.step("compute"):
        STOP.check()  # It may have waited for the slot.
        result = tools.stage.run(images, item.rows)
    if tools.followed and result.status is Status.OK:  # No step reads what belongs to a rejected one.
        for role, ref in item.inputs.items():
            if not ref.own:
                tools.memory.keep((digests[role], ref.limits), images[role])
    main_role = next(iter(item.inputs))
    main_format = images[main_role].source_format
    row = replace(
        item.base,
        status=result.status,
        reasons=result.reasons,
        input_sha256=digests[main_role],
        stage_hash=item.stage_hash_of(digests, main_format),
        model=result.model,
        metrics=dict(result.metrics),
        details=dict(result.details),
    )
    if result.outputs:
        images.clear()  # Encoding needs their memory.
        row = _save(row, item, result, tools, clock)
    else:
        row = _describe_input(row, item, images, sizes)
    return replace(row, seconds={**clock.seconds, **result.seconds})


def _read(item: WorkItem, clock: _Clock) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files and their sha256 (hex) by role; no files where ``unchanged`` holds."""
    files: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for role, ref in item.inputs.items():
        twin = item.twin(role)
        if twin != role:
            files[role], digests[role] = files[twin], digests[twin]
            continue
        if ref.size_bytes > ref.limits.max_bytes:  # Objects are read whole: refuse before, not after.
            raise LimitExceeded(
                f"{ref.store.uri(ref.key)}: expected at most {ref.limits.max_bytes:,} bytes, it has "
                f"{ref.size_bytes:,}; raise limits.max_bytes if it is meant"
            )
        with clock.step("read"):
            files[role] = ref.store.read(ref.key, etag=ref.etag)
            digests[role] = hashlib.sha256(files[role]).hexdigest()
        if ref.sha256 and digests[role] != ref.sha256:
            raise _damaged(ref, digests[role])
        if item.unchanged is not None and item.unchanged.input_sha256 == digests[role]:
            return {}, digests
    return files, digests


def _decode(
    tools: _Tools, item: WorkItem, files: dict[str, bytes], digests: Mapping[str, str], clock: _Clock
) -> dict[str, Image]:
    """Pictures by role; a file is let go as soon as it is decoded."""
    images: dict[str, Image] = {}
    for role, ref in item.inputs.items():
        data, twin = files.pop(role), item.twin(role)
        if twin != role:
            images[role] = images[twin]
            continue
        name = ref.store.uri(ref.key)
        with clock.step("decode"):
            if ref.own:  # In this process what imgpipe wrote.
                kept = KEPT.take(digests[role])
                images[role] = InProcessDecoder().decode(data, name=name, limits=ref.limits, pixels=kept)
            else:
                images[role] = KEPT.take((digests[role], ref.limits)) or tools.decoder.decode(
                    data, name=name, limits=ref.limits
                )
    return images


def _damaged(ref: ObjectRef, found: str) -> ObjectChanged:
    """What is wrong with bytes that are not those of their row. A file of imgpipe's own is deleted, so that
    the stage that makes it finds it missing and makes it again."""
    said = (
        f"{ref.store.uri(ref.key)}: expected the bytes that its row describes (sha256 {ref.sha256[:12]}…), "
        f"got {found[:12]}…"
    )
    if not ref.own:
        return ObjectChanged(f"{said}; the next run reads it again")
    ref.store.delete(ref.key)
    return ObjectChanged(f"{said}; the damaged file was deleted, the next run makes it again")


def _describe_input(
    row: ImageRow, item: WorkItem, images: Mapping[str, Image], sizes: Mapping[str, int]
) -> ImageRow:
    role, ref = next(iter(item.inputs.items()))
    image = images[role]
    return replace(
        row,
        output_key=ref.key,
        output_store="output" if ref.own else "source",
        output_sha256=row.input_sha256,
        width=image.width,
        height=image.height,
        bit_depth=image.bit_depth,
        format=image.source_format,
        size_bytes=sizes[role],
        reasons=row.reasons + image.notes,
    )


def _save(row: ImageRow, item: WorkItem, result: StageResult, tools: _Tools, clock: _Clock) -> ImageRow:
    from imgpipe.images.encode import encode_or_png, without_hidden_colours

    main = next(iter(result.outputs))
    files: dict[str, str] = {}
    beside: dict[str, str] = {}
    for kind, value in result.outputs.items():
        written, pixels = result.main_format if kind == main else "PNG", None
        notes: tuple[str, ...] = ()
        with clock.step("encode"):
            if isinstance(value, Image):
                shown = without_hidden_colours(value)
                data, written, notes = encode_or_png(shown, written)
                pixels = shown.pixels if written == "PNG" else None  # Others may come back as RGB for grey.
            else:
                data = value
        key = item.key_of(kind, EXTENSIONS.get(written, ""))
        files[kind] = keys.placed_key(key, rejected=result.status is Status.REJECTED)
        with clock.step("write"):
            tools.output.write(files[kind], data, overwrite=True)
        digest = hashlib.sha256(data).hexdigest()
        if kind != main:
            beside[kind] = digest
            continue
        if pixels is not None and result.status is Status.OK:  # No step reads a rejected one.
            tools.memory.keep(digest, pixels)
        row = replace(
            row,
            output_key=files[kind],
            output_sha256=digest,
            size_bytes=len(data),
            reasons=row.reasons + notes,
        )
        picture = value if isinstance(value, Image) else result.main_image
        if picture is not None:
            row = replace(
                row, width=picture.width, height=picture.height, bit_depth=picture.bit_depth, format=written
            )
    return replace(row, details={**row.details, "files": files, **({"sha256": beside} if beside else {})})


def error_row(
    base: ImageRow, asset: str, exc: Exception, seconds: Mapping[str, float] = MappingProxyType({})
) -> ImageRow:
    """The row of an image that failed."""
    return replace(
        base,
        status=Status.ERROR,
        stage_failed=asset,
        error_class=type(exc).__name__,
        error_message=str(exc) or repr(exc),
        seconds=dict(seconds),
    )
