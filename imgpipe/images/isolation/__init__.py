"""Worker processes with limits, so that a crash, a hang or too much memory costs one image.

Each worker is a fresh interpreter (never a fork: the owner has threads and networks loaded) in a session of
its own, with an address space limit, no core dumps and its stderr kept from the terminal. Workers start when
they are first needed, serve one request after another, and end with their owner, however that ends. What they
do is :mod:`imgpipe.images.worker`.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
from typing import Any, Self, TypeVar

import numpy as np

from imgpipe.errors import ConfigError, DecodeError, ImgpipeError, LimitExceeded, ProfileUnusable
from imgpipe.host import usable_cores
from imgpipe.images.container import Header
from imgpipe.images.image import Image
from imgpipe.images.isolation.channel import Answer, Buffer
from imgpipe.images.isolation.process import WorkerLost, WorkerProcess
from imgpipe.images.srgb import Floats
from imgpipe.settings import IsolationSettings, LimitSettings

_Answer = TypeVar("_Answer", bound=Answer)

_kept: dict[tuple[IsolationSettings, int, int], IsolatedDecoder] = {}
_keeping = threading.Lock()


class IsolatedDecoder:
    """Decodes in worker processes, at most ``workers`` at a time; further callers wait for an idle one.

    Raises :class:`ConfigError` where processes cannot be limited (anywhere but on Linux). Each method raises
    what the function raises that it names, with the same message; besides, :class:`DecodeError` where the
    worker crashed, was killed, or took longer than ``timeout_seconds``, :class:`LimitExceeded` where
    ``max_memory_bytes`` did not suffice, and :class:`ConfigError` where no worker can be started.
    """

    def __init__(self, settings: IsolationSettings, workers: int) -> None:
        if not sys.platform.startswith("linux"):
            raise ConfigError("isolation.mode: `process` needs Linux; set isolation.mode=none")
        if workers < 1:
            raise ConfigError(f"isolation: expected at least one worker process, got {workers}")
        self._settings = settings
        self._places = workers
        self._owner = os.getpid()
        self._closed = False
        self._closing, self._counting = threading.Lock(), threading.Lock()
        #: Workers that crashed, were killed, or ran out of time so far.
        self.workers_lost = 0
        # Last in, first out, so that no more workers are started than calls overlap.
        self._idle: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        """As :func:`imgpipe.images.decode.decode`."""
        return self._ask(Image, "decode", [data], name, {"limits": limits.model_dump()})

    def header(self, data: bytes, *, name: str) -> Header:
        """As :func:`imgpipe.images.header.describe`."""
        return self._ask(Header, "header", [data], name, {})

    def linear_srgb(self, icc: bytes, values: Floats) -> Floats:
        """As :func:`imgpipe.images.lcms.linear_srgb`."""
        given = np.ascontiguousarray(values, np.float32)
        arguments = {"icc_bytes": len(icc), "shape": given.shape}
        bulk: list[Buffer] = [icc, given.data.cast("B")]
        shown: Floats = self._ask(np.ndarray, "linear_srgb", bulk, "an ICC profile", arguments)
        if shown.shape != given.shape or not np.isfinite(shown).all():
            raise ProfileUnusable("it gives numbers that are not finite, or not as many as are needed")
        return shown

    def _ask(
        self, expected: type[_Answer], do: str, bulk: list[Buffer], name: str, arguments: dict[str, Any]
    ) -> _Answer:
        """What a worker makes of ``bulk``; ``name`` is for messages."""
        self._refuse_misuse()
        worker, keep = self._idle.get(), False
        try:
            self._refuse_misuse()
            if worker is None or not worker.is_alive():
                if worker is not None:
                    worker.stop()
                worker = None
                worker = WorkerProcess(self._settings)
            outcome, keep = worker.ask(expected, bulk, {"do": do, "name": name, **arguments})
        except WorkerLost as exc:
            with self._counting:
                self.workers_lost += 1
            raise DecodeError(f"{name}: {exc}") from exc.__cause__
        except MemoryError as exc:
            raise LimitExceeded(f"{name}: not enough memory for its pixels here; lower `workers`") from exc
        finally:
            if worker is not None and not keep:
                worker.stop()
            self._idle.put(worker if keep else None)
        if not isinstance(outcome, ImgpipeError):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # its traceback holds this frame: the file's bytes must be freed with the error

    def missing(self) -> tuple[str, ...]:
        """What the kernel cannot refuse a worker, in words; starts one where none is idle."""
        self._refuse_misuse()
        worker = self._idle.get()
        try:
            worker = worker or WorkerProcess(self._settings)
            return worker.missing
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Wait for calls under way, then end all workers. Later calls raise :class:`ImgpipeError`."""
        with self._closing:
            self._closed = True
            workers = [self._idle.get() for _ in range(self._places)]
            for worker in workers:
                if worker is not None:
                    worker.stop()
                self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_misuse(self) -> None:
        if self._closed:
            raise ImgpipeError("the decoder is closed; open a new one")
        if os.getpid() != self._owner:
            raise ImgpipeError("the decoder was opened before this process was forked; open one in each")


def kept_decoder(settings: IsolationSettings, workers: int = 0) -> IsolatedDecoder:
    """A decoder of at most ``workers`` processes, 0 for one per core; never more than there are cores.

    It is kept for the life of the process, so that its workers stay warm: the same arguments give the same
    one, but after a fork.
    """
    cores = usable_cores()
    key = (settings, min(workers or cores, cores), os.getpid())
    with _keeping:
        if key not in _kept:
            _kept[key] = IsolatedDecoder(settings, key[1])
            atexit.register(_kept[key].close)
        return _kept[key]
