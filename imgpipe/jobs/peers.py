"""The servers on one output: each holds a lease as long as it lives, and looks whether others are gone."""

from __future__ import annotations

import secrets
from collections.abc import Container

from imgpipe.errors import LeaseHeld, LeaseLost
from imgpipe.jobs.book import JobBook
from imgpipe.jobs.job import DATASET, Job
from imgpipe.storage import keys
from imgpipe.storage.lease import Lease

#: How often a server looks, seconds. What a server of this machine has left is found after this long, of
#: another machine :data:`~imgpipe.storage.lease.LEASE_SECONDS` later.
LOOK_SECONDS = 5.0


class Peers:
    """This server among those on ``book``'s output, from :meth:`join` on; for one thread."""

    def __init__(self, book: JobBook) -> None:
        self._book = book
        self._store = book.stores.output
        self._watched: dict[str, Lease] = {}

    def join(self) -> None:
        """Take a lease, which a server that is killed leaves behind."""
        self._name = f"server{secrets.token_hex(8)}"
        self._own = Lease(self._store, DATASET, self._name)
        self._own.acquire(None)

    def leave(self) -> None:
        """Give the lease back: nobody need look for jobs of this server."""
        self._own.release()

    def left_behind(self, mine: Container[str]) -> list[Job]:
        """Jobs without a result, oldest first, where a process is gone that held a lease, of a server or of a
        job; without those whose ids are in ``mine``, which this server works on.

        Jobs that wait at a third server may be among them: a job's own lease keeps it to one of both.
        """
        try:
            self._own.require()
        except LeaseLost:  # This process was stopped for so long that others took it for dead.
            self.join()
        found = {keys.lease_name(item.key) for item in self._store.list(keys.leases_folder(DATASET))}
        self._watched = {
            name: self._watched.get(name) or Lease(self._store, DATASET, name)
            for name in found - {self._name, ""}
        }
        gone = [name for name, lease in self._watched.items() if _is_over(lease)]
        for name in gone:
            del self._watched[name]
        return [job for job in self._book.unfinished() if job.id not in mine] if gone else []


def _is_over(lease: Lease) -> bool:
    """Whether its holder is gone; the lease is then, too."""
    try:
        lease.acquire(None)
    except LeaseHeld:
        return False
    lease.release()
    return True
