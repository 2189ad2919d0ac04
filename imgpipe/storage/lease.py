"""Leases: one of several processes, on any machine, works on a part of a data set at a time.

A lease is a small object, ``leases/<dataset>/<name>-<number>.json``. Taking one is writing the next number
where nobody else has (:meth:`ImageStore.write` without ``overwrite``: exactly one of several succeeds). Its
holder writes it again every :data:`RENEW_SECONDS` and deletes it at the end. Others take over with the next
number when the holder is known to be gone (a process of this machine that has ended), or has not renewed for
:data:`LEASE_SECONDS` by the clock of the one who waits: clocks of two machines are not compared.

A holder that was stopped for so long that another took over finds the higher number at its next renewal,
and :meth:`Lease.require` raises :class:`LeaseLost` from then on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from imgpipe.errors import LeaseHeld, LeaseLost, ObjectExists, ObjectMissing, StorageError
from imgpipe.processes import Process
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

#: The lease of whoever seals shards.
PLAN = "plan"
#: The lease of whoever writes the report.
REPORT = "report"
LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
#: How often one that waits looks, seconds.
LOOK_SECONDS = 1.0
#: Without watching for :data:`LEASE_SECONDS`: a renewal as old as this is over, whatever the clocks.
_OLD_SECONDS = 600.0
#: Leases of this process, by store, data set and name.
_held: dict[tuple[str, str, str], Lease] = {}
log = logging.getLogger(__name__)


@contextmanager
def hold(
    store: ImageStore, dataset: str, name: str, *, sleep: Callable[[float], None] | None = time.sleep
) -> Iterator[Lease]:
    """Hold the lease ``name`` (a shard, ``plan``) of a data set within the block.

    Waits for another process, which a warning in the log names; ``sleep`` may raise to end that. With
    ``None`` it does not wait: :class:`LeaseHeld`. A process that holds it already goes on within that.
    """
    place = (store.url, dataset, name)
    if place in _held:
        yield _held[place]
        return
    lease = Lease(store, dataset, name)
    lease.acquire(sleep)
    _held[place] = lease
    try:
        yield lease
    finally:
        del _held[place]
        lease.release()


def honours_conditional_writes(store: ImageStore) -> bool:
    """Whether a second write of a name is refused, on which leases rest; tried with a hidden object.

    A server that refuses the condition itself raises :class:`StoreUnavailable`.
    """
    key = f".imgpipe-probe-{uuid.uuid4().hex}"
    try:
        store.write(key, b"first")
        store.write(key, b"second")
    except ObjectExists:
        return True
    finally:
        store.delete(key)
    return False


def require(store: ImageStore, dataset: str, name: str) -> None:
    """Raise :class:`LeaseLost` where this process held the lease and another one has taken over."""
    lease = _held.get((store.url, dataset, name))
    if lease is not None:
        lease.require()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lease: :meth:`Process.text`, and when it was taken and renewed last, UTC."""

    process: str
    token: str
    since: str
    renewed: str

    @classmethod
    def read(cls, data: bytes) -> Holder | None:
        """``None`` for bytes that are no lease: nobody renews them."""
        try:
            holder = cls(**json.loads(data))
            datetime.fromisoformat(holder.renewed)
        except (ValueError, TypeError):
            return None
        return holder

    def __str__(self) -> str:
        return f"{Process.parse(self.process) or 'an unknown process'} since {self.since[:19]} UTC"


class Lease:
    """One lease, from :meth:`acquire` to :meth:`release`; use :func:`hold`.

    ``waited``: another process had it, and may have done what was to be done.
    """

    waited = False

    def __init__(self, store: ImageStore, dataset: str, name: str) -> None:
        self._store, self._dataset, self._name = store, dataset, name
        self._token = uuid.uuid4().hex
        self._since = _now()
        self._number = 0
        self._lost = False
        self._ended = threading.Event()
        self._watched: Holder | None = None
        self._watched_since = 0.0

    def acquire(self, sleep: Callable[[float], None] | None) -> None:
        """Take the lease; see :func:`hold`."""
        told = ""
        while (holder := self._try()) is not None:
            said = f"{self._dataset} {self._name} is held by {holder}"
            if sleep is None:
                raise LeaseHeld(f"{said}; try again when that is done")
            self.waited = True
            if said != told:
                log.warning(
                    "waiting: %s; it is free when that ends, or %g s after it died", said, LEASE_SECONDS
                )
                told = said
            sleep(LOOK_SECONDS)
        name = f"lease-{self._name}"
        self._renewing = threading.Thread(target=self._renew_until_ended, name=name, daemon=True)
        self._renewing.start()

    def release(self) -> None:
        """Give it back."""
        self._ended.set()
        self._renewing.join()
        if self._lost:
            return
        try:
            self._store.delete(self._key(self._number))
        except StorageError as exc:
            log.warning("%s %s: the lease could not be given back: %s", self._dataset, self._name, exc)

    def require(self) -> None:
        """Raise :class:`LeaseLost` where another process has taken over."""
        if self._lost:
            raise LeaseLost(
                f"{self._dataset} {self._name}: this process did not renew its lease for {LEASE_SECONDS:g} s "
                "and another took over; what was finished is kept, run again"
            )

    def _try(self) -> Holder | None:
        """Take it and return ``None``, or return who has it."""
        seen = self._numbers()
        newest = max(seen, default=0)
        holder = self._read(newest) if seen else None
        if holder is not None and not self._is_over(holder):
            return holder
        mine = newest + 1
        try:
            self._store.write(self._key(mine), self._text())
        except ObjectExists:
            return self._read(mine) or holder or _SOMEBODY
        # Whoever looked before the last holder left may have written another number at the same moment; and a
        # server that knows no conditional write has let two write the same.
        written, now = self._read(mine), self._numbers()
        if written is None or written.token != self._token:
            return written or _SOMEBODY
        if not now <= seen | {mine}:
            self._store.delete(self._key(mine))
            return self._read(max(now)) or _SOMEBODY
        self._number = mine
        for number in seen:
            self._store.delete(self._key(number))
        return None

    def _is_over(self, holder: Holder) -> bool:
        process = Process.parse(holder.process)
        if process is None or process.is_gone():
            return True
        if holder != self._watched:
            self._watched, self._watched_since = holder, time.monotonic()
        age = (datetime.now(UTC) - datetime.fromisoformat(holder.renewed)).total_seconds()
        return age > _OLD_SECONDS or time.monotonic() - self._watched_since > LEASE_SECONDS

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                if max(self._numbers(), default=0) > self._number:
                    self._lost = True
                    return
                self._store.write(self._key(self._number), self._text(), overwrite=True)
            except StorageError as exc:
                log.warning("%s %s: the lease could not be renewed: %s", self._dataset, self._name, exc)

    def _numbers(self) -> set[int]:
        prefix = keys.lease_prefix(self._dataset, self._name)
        return {number for item in self._store.list(prefix) if (number := keys.lease_number(item.key))}

    def _read(self, number: int) -> Holder | None:
        try:
            return Holder.read(self._store.read(self._key(number)))
        except ObjectMissing:
            return None

    def _key(self, number: int) -> str:
        return keys.lease_key(self._dataset, self._name, number)

    def _text(self) -> bytes:
        holder = Holder(Process.current().text(), self._token, self._since, _now())
        return json.dumps(asdict(holder)).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat()


#: Where the lease went away while it was looked at.
_SOMEBODY = Holder("", "", _now(), _now())
