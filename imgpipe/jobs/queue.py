"""Jobs that wait for their turn, and the threads that compute them."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imgpipe.engines.stop import GRACE_SECONDS, STOP, Stopped
from imgpipe.errors import DeviceFault, LeaseHeld, StorageError
from imgpipe.host import usable_cores
from imgpipe.jobs.book import JobBook
from imgpipe.jobs.job import Job
from imgpipe.jobs.peers import LOOK_SECONDS, Peers

log = logging.getLogger(__name__)


class JobQueue:
    """At most ``jobs.max_waiting`` jobs, computed in the order in which they came, and what servers that are
    gone have left.

    The store knows every job: what is in memory here is only whose turn it is.
    """

    def __init__(self, book: JobBook) -> None:
        self._book = book
        self._limit = book.base.jobs.max_waiting
        self._waiting: queue.SimpleQueue[tuple[Job, bool] | None] = queue.SimpleQueue()
        self._places = 0
        self._mine: set[str] = set()
        self._lock = threading.Lock()
        self._peers = Peers(book)
        self._stopped = threading.Event()
        #: Why the process must end, and what is called then, in a job's thread.
        self.fault: DeviceFault | None = None
        self.on_fault: Callable[[], None] = lambda: None
        count = book.base.jobs.at_once or usable_cores() + 2
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{number}", daemon=True) for number in range(count)
        ]
        self._looking = threading.Thread(target=self._look, name="jobs-look", daemon=True)

    def start(self) -> None:
        """Take up what an earlier process has left, and begin."""
        self._peers.join()
        for job in self._book.unfinished():
            self.put(job, again=True)
        for thread in [*self._threads, self._looking]:
            thread.start()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there is a place for one more job; it is held within the block, for :meth:`put`."""
        with self._lock:
            free = self._places + self._waiting.qsize() < self._limit
            self._places += free
        try:
            yield free
        finally:
            with self._lock:
                self._places -= free

    def put(self, job: Job, *, again: bool = False) -> None:
        """Let a job wait for its turn; ``again``: an earlier process may have died of it."""
        self._mine.add(job.id)
        self._waiting.put((job, again))

    def has(self, job_id: str) -> bool:
        """Whether a job that came to this process waits or is computed."""
        return job_id in self._mine

    @property
    def length(self) -> int:
        """Jobs that wait."""
        return self._waiting.qsize()

    def stop(self) -> None:
        """Let jobs in flight end within seconds; the others stay in the store for other processes, which find
        the lease of this one where there are such jobs."""
        self._stopped.set()
        self._looking.join(GRACE_SECONDS)
        if not self._mine:
            self._peers.leave()
        STOP.request()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(GRACE_SECONDS + 1)
        STOP.clear()

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                for job in self._peers.left_behind(self._mine):
                    log.warning("%s: taken up, its server is gone", job.id)
                    self.put(job, again=True)
            except StorageError as exc:
                log.warning("jobs of other servers could not be looked for: %s", exc)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None and self.fault is None:
            job, again = item
            try:
                STOP.check()
                self._book.run(job, again=again)
            except Stopped:
                return
            except LeaseHeld as exc:
                log.info("%s: left to another process: %s", job.id, exc)
            except DeviceFault as exc:
                log.error("%s: not finished, as the device fails; another process takes it up", job.id)
                self.fault = exc
                self.on_fault()
            except Exception:
                # The store, or a defect: the job keeps its place in the store, this thread its work.
                log.exception("%s: not finished; the next start tries it again", job.id)
            finally:
                self._mine.discard(job.id)
