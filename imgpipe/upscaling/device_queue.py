"""Pictures of several threads on one device: one thread gives it orders, each picture's own does the rest."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

from imgpipe.errors import InferenceError, ModelError, OutOfMemory
from imgpipe.inference.failures import not_finite
from imgpipe.upscaling.network import DeviceNetwork, Finishing, Part, Sent
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.tile_planner import Attempt, TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged, Picture, Receiver, Tile, batches, row_groups, tiles_of

#: Pictures of so many pixels in all fill a GPU.
_FILLING_PIXELS = 2**20

#: How a picture is tried from here on (what came before counts no more), a tile of it, or why there is none.
_Message = Attempt | tuple[Tile, Sent] | Exception


@dataclass(slots=True, eq=False)
class _Job:
    """A picture that waits for the device or is computed there, and what has come of it."""

    held: Any
    size: tuple[int, int]
    finishing: Finishing | None
    full: bool = False
    oom_retries: int = 0
    left: int = 1  # tiles that were not given
    is_cut: bool = False
    abandoned: bool = False
    inbox: SimpleQueue[_Message] = field(default_factory=SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def is_open(self) -> bool:
        return self.left > 0 and not self.abandoned

    def begin(self, attempt: Attempt) -> None:
        self.left = attempt.plan.count
        self.is_cut = self.left > 1
        self.put(replace(attempt, oom_retries=self.oom_retries))

    def part(self, tile: Tile) -> Part:
        return Part(self.held, *tile, None if self.is_cut else self.finishing)

    def give(self, tile: Tile, sent: Sent) -> None:
        self.left -= 1
        self.put((tile, sent))

    def fail(self, error: Exception) -> None:
        self.left = 0
        self.put(error)

    def put(self, message: _Message) -> None:
        """To the picture's thread; released at once where that waits no more."""
        with self.lock:
            if not self.abandoned:
                self.inbox.put(message)
            elif isinstance(message, tuple):
                message[1].release()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        with self.lock:
            self.abandoned = True
        with suppress(Empty):
            while True:
                message = self.inbox.get_nowait()
                if isinstance(message, tuple):
                    message[1].release()


class DeviceQueue:
    """Small pictures that wait share batches; larger ones fill the device by themselves.

    Those would all be finished at once while it has nothing to do, instead of one while the next is computed.
    """

    def __init__(self, network: DeviceNetwork, scale: int, planner: TilePlanner) -> None:
        self._network, self._scale, self._planner = network, scale, planner
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        # Its thread ends with this object.
        self._orders = ThreadPoolExecutor(1, thread_name_prefix="imgpipe-device")

    def enlarge(self, source: NetworkInput, receiver: Receiver) -> Enlarged:
        """See :meth:`imgpipe.upscaling.network_queue.NetworkQueue.enlarge`."""
        height, width, _ = source.shape
        held = self._network.hold(source, receiver.finishing)
        job = _Job(held, (width, height), receiver.finishing)
        try:
            done = self._computed(job, receiver)
            if done is None:
                job.full, job.left = True, 1
                done = self._computed(job, receiver)
        finally:
            job.abandon()
        if done is None:
            raise not_finite("fp32 too")
        return done

    def _computed(self, job: _Job, receiver: Receiver) -> Enlarged | None:
        """All of a picture, in its own thread; ``None`` where something in it is not finite."""
        with self._lock:
            self._waiting.append(job)
        self._orders.submit(self._next)
        received: _Received | None = None
        while received is None or received.left:
            message = job.inbox.get()
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Attempt):
                received = _Received(message, Picture(receiver, self._scale, message))
            elif received is not None:
                received.add(*message)
        return received.result(full=job.full)

    # What follows is done in the device's thread, which waits for the device and for room in the ring alone.

    def _next(self) -> None:
        """Order what comes next; called once for each picture: for some of the calls nothing is left."""
        jobs: list[_Job] = []
        try:
            self._network.wait_for_turn()
            jobs = self._taken()
            if len(jobs) > 1:
                self._together(jobs)
            for job in jobs:
                if job.is_open:
                    self._alone(job)
        except Exception as exc:
            for job in jobs or self._taken():
                if job.is_open:
                    job.fail(exc)

    def _taken(self) -> list[_Job]:
        """The first that waits and those that fill the device together with it, out of the queue."""
        with self._lock:
            self._waiting = [job for job in self._waiting if job.is_open]
            taken = self._waiting[:1]
            pixels = sum(job.pixels for job in taken)
            for job in self._waiting[1:]:
                if job.full == taken[0].full and pixels + job.pixels <= _FILLING_PIXELS:
                    pixels += job.pixels
                    taken.append(job)
            self._waiting = [job for job in self._waiting if job not in taken]
            return taken

    def _together(self, jobs: Sequence[_Job]) -> None:
        """Those that can be; the others stay open, to be computed alone, where errors are their own."""
        attempts = [self._planner.first(*job.size) for job in jobs]
        batch = min(attempt.batch for attempt in attempts)
        attempts = [replace(attempt, batch=batch) for attempt in attempts]
        pairs = zip(jobs, attempts, strict=True)
        small = [(job, attempt) for job, attempt in pairs if len(row_groups(attempt)) == 1]
        if batch == 1 or len(small) < 2:
            return
        for job, attempt in small:
            job.begin(attempt)
        try:
            self._order([(job, tile) for job, attempt in small for tile in tiles_of(attempt.plan)], batch)
        except OutOfMemory:
            self._network.release_cached_memory()
            self._planner.smaller_batch(batch)
            for job, _ in small:
                job.oom_retries += job.is_open
        except ModelError:
            raise
        except (InferenceError, MemoryError):
            pass  # whose it is shows when each is alone

    def _alone(self, job: _Job) -> None:
        try:
            attempt = self._planner.first(*job.size)
            while job.is_open:
                job.begin(attempt)
                try:
                    for rows in row_groups(attempt):
                        self._order([(job, tile) for tile in tiles_of(attempt.plan, rows)], attempt.batch)
                except OutOfMemory as exc:
                    self._network.release_cached_memory()
                    attempt = self._planner.after(attempt, exc)
                    job.oom_retries += 1
        except Exception as exc:
            job.fail(exc)

    def _order(self, tiles: Sequence[tuple[_Job, Tile]], batch: int) -> None:
        for same in batches(tiles, batch, lambda pair: pair[1]):
            self._network.wait_for_turn()
            still = [(job, tile) for job, tile in same if not job.abandoned]
            if not still:
                continue

            def give(index: int, sent: Sent, still: Sequence[tuple[_Job, Tile]] = still) -> None:
                still[index][0].give(still[index][1], sent)

            self._network.start([job.part(tile) for job, tile in still], give, full=still[0][0].full)


class _Received:
    """What has come of one attempt at a picture."""

    def __init__(self, attempt: Attempt, picture: Picture) -> None:
        self.left = attempt.plan.count
        self._attempt, self._picture = attempt, picture
        self._seconds, self._finite, self._fp32_retries = 0.0, True, 0

    def add(self, tile: Tile, sent: Sent) -> None:
        """Copy a part and make room for the next before anything is made of it."""
        try:
            answer = sent.read()
            self._finite = self._finite and answer.finite
            if self._finite:  # else all of it comes again
                self._picture.keep_answer(tile, answer)
        finally:
            sent.release()
        if self._finite:
            self._picture.count()
        self._seconds += answer.seconds
        self._fp32_retries += answer.fp32_retries
        self.left -= 1

    def result(self, *, full: bool) -> Enlarged | None:
        if not self._finite:
            return None
        plan, retries = self._attempt.plan, self._attempt.oom_retries
        again = plan.count if full else self._fp32_retries
        return Enlarged(plan, self._attempt.batch, retries, again, self._seconds)
