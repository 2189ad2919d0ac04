"""The engine `ray`: chunks of items through actors of a Ray cluster.

A chunk is keys, and the rows of the tables before, never pictures. A worker (an actor) builds the stage
once, reads, computes and writes what it is given as the local engine does, and answers with rows. Ray places
workers on nodes and GPUs, and starts those that wait as soon as there is room. It restarts no worker and
repeats no chunk by itself: that is left to :mod:`~imgpipe.engines.rounds`, since a worker that waits for a
node that never comes back would hold up the chunks it has, and since an image that ends its process would do
so again.
"""

from __future__ import annotations

import logging
import os
import pickle  # To and from a process that this one started.
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from importlib.util import find_spec
from typing import IO, Any

from imgpipe.config import Settings
from imgpipe.engines.parcels import Bench, Order
from imgpipe.engines.ray_driver import Job, WarmUp
from imgpipe.engines.rounds import Answer, Chunk, chunks_of
from imgpipe.engines.stop import GRACE_SECONDS, STOP, Stopped
from imgpipe.errors import ClusterUnavailable, PackagesMissing
from imgpipe.settings import RaySettings
from imgpipe.settings.ray import LOCAL

#: How often the log hears how far a step is, seconds.
_TOLD_SECONDS = 30.0
_DRIVER_CODE = "import sys; sys.path[:] = sys.argv[1:]; from imgpipe.engines.ray_driver import main; main()"
#: Nothing is reported to anybody.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}
#: A cluster that is started for the run listens on this machine only, and starts no workers ahead.
_FOR_THE_RUN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}
log = logging.getLogger(__name__)


def connect_ahead(settings: RaySettings) -> None:
    """Begin to connect, or to start a cluster, while sources are still being listed; once for a process.

    What goes wrong is found and told by the step that needs it. Where none does, it ends with the process.
    """
    if find_spec("ray") is not None:
        _Driver.idle(settings).rest()


def warm_up_workers(settings: Settings, images: int) -> None:
    """Begin workers of a cluster for the run, as many as so many images take, and load models there, as
    :func:`~imgpipe.stages.build.warm_up` does here; on any other cluster other runs may need the room."""
    if find_spec("ray") is not None and settings.ray.cluster == LOCAL:
        driver = _Driver.idle(settings.ray)
        driver.send(WarmUp(settings, len(chunks_of(range(images), settings.ray.chunk))))
        driver.rest()


class RayPool:
    """A :data:`~imgpipe.engines.rounds.Pool` for :func:`~imgpipe.engines.rounds.run_in_rounds`."""

    def __init__(self, order: Order, bench: Bench) -> None:
        self._order, self._bench = order, bench

    def __call__(self, chunks: Sequence[Chunk]) -> Generator[Answer, None, None]:
        """Answers as they come.

        Raises :class:`PackagesMissing` without Ray, :class:`ClusterUnavailable`, and :class:`Stopped` on a
        request to stop, once what came within :data:`GRACE_SECONDS` was yielded.
        """
        if find_spec("ray") is None:
            raise PackagesMissing("engine: ray needs the package ray: pip install 'imgpipe[ray]'")
        driver = _Driver.idle(self._order.settings.ray)
        finished = False
        try:
            driver.send(Job(self._order, tuple(map(self._bench.pack, chunks))))
            with STOP.heard_by(lambda: driver.heard.put(Stopped("a stop was requested"))):
                yield from self._answers(driver, sum(map(len, chunks)))
            finished = True
        finally:
            driver.rest() if finished else driver.end()

    def _answers(self, driver: _Driver, total: int) -> Iterator[Answer]:
        asset, shard = self._order.asset, self._order.shard
        done, told = 0, time.monotonic()
        while True:
            try:
                said = driver.heard.get(timeout=max(0.0, told + _TOLD_SECONDS - time.monotonic()))
            except queue.Empty:  # Also while it waits for nodes.
                told = time.monotonic()
                log.info("%s %s: %d of %d images are done", asset, shard, done, total)
                continue
            if said is None:
                return
            if isinstance(said, str):
                log.info("%s %s: %d images, %s", asset, shard, total, said)
                continue
            if isinstance(said, Stopped):
                yield from _last(driver)
            if isinstance(said, BaseException):
                raise said
            yield said
            done += len(said.rows)


class _Driver:
    """A process of :mod:`~imgpipe.engines.ray_driver`. ``heard``: what it says, and ``None`` at a job's
    end."""

    _idle: dict[str, list[_Driver]] = {}  # noqa: RUF012  of this process
    _choosing = threading.Lock()

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        local = _FOR_THE_RUN if settings.cluster == LOCAL else {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER_CODE, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is this process's to handle.
            env={**_ENVIRONMENT, **local, **os.environ},
        )
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="imgpipe-ray", daemon=True).start()
        self.send(settings)

    @classmethod
    def idle(cls, settings: RaySettings) -> _Driver:
        """One that is connected and has nothing to do, else a new one."""
        with cls._choosing:
            resting = cls._idle.get(repr(settings), [])
            while resting:
                driver = resting.pop()
                if driver._process.poll() is None:
                    return driver
        return cls(settings)

    def rest(self) -> None:
        """Keep it, connected, for the next job of this process, with which it ends."""
        with self._choosing:
            self._idle.setdefault(repr(self._settings), []).append(self)

    def send(self, message: RaySettings | WarmUp | Job) -> None:
        """To the process; where that has ended, what is heard says so."""
        try:
            pickle.dump(message, self._stdin)
            self._stdin.flush()
        except BrokenPipeError:
            return

    def end(self) -> None:
        """End it, with its job."""
        self._process.kill()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101  by its arguments
        return self._process.stdin

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        while True:
            try:
                said = pickle.load(self._process.stdout)  # noqa: S301
            except (EOFError, pickle.UnpicklingError):
                code = self._process.wait()
                said = ClusterUnavailable(
                    f"the connection to the Ray cluster {self._settings.cluster} ended (exit code {code}): "
                    "its head has not answered for a minute, or has refused; what was finished is kept, run "
                    "again when it is there"
                )
            self.heard.put(said)
            if isinstance(said, BaseException):
                return


def _last(driver: _Driver) -> Iterator[Answer]:
    """What still comes within the time that a stop may take."""
    until = time.monotonic() + GRACE_SECONDS
    while (seconds := until - time.monotonic()) > 0:
        try:
            said = driver.heard.get(timeout=seconds)
        except queue.Empty:
            return
        if not isinstance(said, Answer):
            return
        yield said
