"""Inputs of several threads for one network, which computes one batch at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from imgpipe.errors import InferenceError

Values = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class _Job:
    values: Values
    started_at: float = 0.0
    result: Values | Exception | None = None


class BatchQueue:
    """Whichever thread finds the network free computes its own input, with those that wait and may join it.

    ``run``: inputs of one shape -> their answers, in one call. ``most``: how many of such a shape may share
    one. Errors are those of an input by itself, never of one that was computed with it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Values]], Iterable[Values]],
        most: Callable[[tuple[int, ...]], int] = lambda shape: 1,
    ) -> None:
        self._run, self._most = run, most
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._busy = False

    def __call__(self, values: Values) -> tuple[Values, float]:
        """The answer for ``values``, and for how many seconds they waited before they were computed."""
        queued_at, job = time.perf_counter(), _Job(values)
        with self._changed:
            self._waiting.append(job)
            while self._busy and job.result is None:
                self._changed.wait()
            jobs = self._taken_with(job) if job.result is None else []
            self._busy = self._busy or bool(jobs)
        if jobs:
            try:
                self._compute(jobs)
            finally:
                with self._changed:
                    # Some are left only where this thread is ended from outside: another one takes them.
                    self._waiting += [other for other in jobs if other.result is None and other is not job]
                    self._busy = False
                    self._changed.notify_all()
        if job.result is None:
            raise InferenceError("the network was given up while this picture waited for it")
        if isinstance(job.result, Exception):
            raise job.result
        return job.result, job.started_at - queued_at

    def _taken_with(self, job: _Job) -> list[_Job]:
        shape = job.values.shape
        joining = [one for one in self._waiting if one is not job and one.values.shape == shape]
        taken = [job, *joining[: self._most(shape) - 1]]
        self._waiting = [one for one in self._waiting if one not in taken]
        return taken

    def _compute(self, jobs: list[_Job]) -> None:
        for job in jobs:
            job.started_at = time.perf_counter()
        try:
            results: list[Values | Exception] = [*self._run([job.values for job in jobs])]
        except Exception as exc:
            if len(jobs) > 1:  # Whose it is shows when each is computed alone.
                for job in jobs:
                    self._compute([job])
                return
            results = [exc]
        for job, result in zip(jobs, results, strict=True):
            job.result = result
