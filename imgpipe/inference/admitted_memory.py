"""Work that finds out on its way that it takes more memory than its picture was admitted with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Holds so many bytes more at once, or says that they are not free.
Grow = Callable[[int], bool]

_grow: ContextVar[Grow | None] = ContextVar("grow", default=None)


class MoreMemoryNeeded(Exception):
    """``extra_bytes`` beyond what was admitted are not free now: to be begun anew when they are."""

    def __init__(self, extra_bytes: int) -> None:
        super().__init__(f"{extra_bytes:,} bytes more than were admitted")
        self.extra_bytes = extra_bytes


@contextmanager
def growing_by(grow: Grow) -> Iterator[None]:
    """:func:`need_extra` asks ``grow`` meanwhile, in this thread, for what it was not given before."""
    given = 0

    def grow_to(extra_bytes: int) -> bool:
        nonlocal given
        fits = extra_bytes <= given or grow(extra_bytes - given)
        given = max(given, extra_bytes) if fits else given
        return fits

    token = _grow.set(grow_to)
    try:
        yield
    finally:
        _grow.reset(token)


def need_extra(extra_bytes: int) -> None:
    """Go on where so many bytes more may be taken, or where nobody counts; else :class:`MoreMemoryNeeded`."""
    grow = _grow.get()
    if extra_bytes > 0 and grow is not None and not grow(extra_bytes):
        raise MoreMemoryNeeded(extra_bytes)
