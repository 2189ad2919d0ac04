"""Pictures of several threads on one network, which computes one batch at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from imgpipe.errors import InferenceError, OutOfMemory
from imgpipe.upscaling.network import LoadedNetwork
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged, Picture, Take, run_tiles, run_together

#: Pictures of so many pixels in all fill a GPU.
_FILLING_PIXELS = 2**20


@dataclass(slots=True, eq=False)
class _Job:
    source: NetworkInput
    take: Take
    result: Enlarged | Exception | None = None
    oom_retries: int = 0

    @property
    def pixels(self) -> int:
        return self.source.shape[0] * self.source.shape[1]

    def outcome(self) -> Enlarged:
        if isinstance(self.result, Enlarged):
            return self.result
        raise self.result or InferenceError("the network was given up while this picture waited for it")


class NetworkQueue:
    """Whichever thread finds the network free computes its own picture, and of those that wait what fits.

    So pictures too small to fill a GPU by themselves share its batches. Larger ones do not: they would all be
    finished at once while it has nothing to do, instead of one while the next is computed.
    """

    def __init__(self, loaded: LoadedNetwork, planner: TilePlanner) -> None:
        self._loaded = loaded
        self._planner = planner
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._busy = False

    def enlarge(self, source: NetworkInput, take: Take) -> Enlarged:
        """``source`` through the network; see :func:`tile_runner.run_tiles`.

        ``take`` is called in the thread that computes. Errors are those of this picture, never of one that
        was computed with it.
        """
        job = _Job(source, take)
        with self._changed:
            self._waiting.append(job)
            while self._busy and job.result is None:
                self._changed.wait()
            if job.result is not None:
                return job.outcome()
            jobs = self._taken_with(job)
            self._busy = True
        try:
            self._compute(jobs)
        finally:
            with self._changed:
                # Some are left only where this thread is ended from outside: another one takes them.
                self._waiting += [other for other in jobs if other.result is None and other is not job]
                self._busy = False
                self._changed.notify_all()
        return job.outcome()

    def _taken_with(self, job: _Job) -> list[_Job]:
        """``job`` and those that wait and fill the network together with it, out of the queue."""
        pixels, taken = job.pixels, [job]
        for other in self._waiting:
            if other is not job and pixels + other.pixels <= _FILLING_PIXELS:
                pixels += other.pixels
                taken.append(other)
        self._waiting = [other for other in self._waiting if other not in taken]
        return taken

    def _compute(self, jobs: list[_Job]) -> None:
        if len(jobs) > 1:
            self._compute_together(jobs)
        for job in jobs:
            if job.result is None:
                try:
                    result: Enlarged | Exception = run_tiles(
                        self._loaded, self._planner, job.source, job.take, oom_retries=job.oom_retries
                    )
                except Exception as exc:
                    result = exc
                self._settle(job, result)

    def _compute_together(self, jobs: list[_Job]) -> None:
        """Those that can be; the others are left to be run one by one, where errors are their own."""
        try:
            pictures = [Picture(job.source, job.take) for job in jobs]
            for index, enlarged in run_together(self._loaded, self._planner, pictures):
                self._settle(jobs[index], enlarged)
        except OutOfMemory:
            for job in jobs:
                job.oom_retries += 1
        except (InferenceError, MemoryError):
            pass  # whose it is shows when each runs alone

    def _settle(self, job: _Job, result: Enlarged | Exception) -> None:
        with self._changed:
            job.result = result
            self._changed.notify_all()
