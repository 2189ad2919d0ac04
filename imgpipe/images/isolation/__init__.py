"""Decoding in worker processes with limits, so that a crash, a hang or too much memory costs one image.

Each worker is a fresh interpreter (never a fork: the owner has threads and networks loaded) in a session of
its own, with an address space limit, no core dumps and its stderr kept from the terminal. Workers start when
they are first needed, serve one file after another, and end with their owner, however that ends.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from abc import ABC, abstractmethod
from typing import Self

from imgpipe.errors import ConfigError, DecodeError, ImgpipeError, LimitExceeded
from imgpipe.images.image import Image
from imgpipe.images.isolation.process import WorkerLost, WorkerProcess
from imgpipe.settings import IsolationSettings, LimitSettings


class Decoder(ABC):
    """Decodes sources, in this process or in workers; may be called from several threads at once."""

    @abstractmethod
    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        """As :func:`imgpipe.images.decode.decode`, errors included."""

    def close(self) -> None:  # noqa: B027 -- nothing to end in this process
        """End what was started; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_decoder(settings: IsolationSettings, workers: int) -> Decoder:
    """Up to ``workers`` processes for ``isolation.mode=process``, the calling thread for ``none``.

    Raises :class:`ConfigError` where processes cannot be limited (anywhere but on Linux).
    """
    return InProcessDecoder() if settings.mode == "none" else IsolatedDecoder(settings, workers)


class InProcessDecoder(Decoder):
    """Decodes in the calling thread: faster, for trusted sources."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        from imgpipe.images.decode import decode

        return decode(data, name=name, limits=limits)


class IsolatedDecoder(Decoder):
    """Decodes in worker processes, at most ``workers`` at a time; further callers wait for an idle one."""

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
        """As :func:`imgpipe.images.decode.decode`, in a worker.

        Raises what that raises, with the same message; besides, :class:`DecodeError` where the worker
        crashed, was killed, or took longer than ``timeout_seconds``, and :class:`LimitExceeded` where
        ``max_memory_bytes`` did not suffice. :class:`ConfigError` where no worker can be started.
        """
        self._refuse_misuse()
        worker, keep = self._idle.get(), False
        try:
            self._refuse_misuse()
            if worker is None or not worker.is_alive():
                if worker is not None:
                    worker.stop()
                worker = None
                worker = WorkerProcess(self._settings)
            outcome, keep = worker.decode(data, name, limits)
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
        if isinstance(outcome, Image):
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

    def _refuse_misuse(self) -> None:
        if self._closed:
            raise ImgpipeError("the decoder is closed; open a new one")
        if os.getpid() != self._owner:
            raise ImgpipeError("the decoder was opened before this process was forked; open one in each")
