"""A way for whoever waits to see rows as they are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from imgpipe.records import ImageRow

#: (asset, shard, row, computed): ``computed`` is False where an earlier result was kept.
RowListener = Callable[[str, str, ImageRow, bool], None]

_listener: ContextVar[RowListener | None] = ContextVar("imgpipe_row_listener", default=None)


@contextmanager
def listening(listener: RowListener) -> Iterator[None]:
    """While this is open, ``listener`` hears of every row that is finished in this context."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def announce(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
    """Tell the listener, where there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(asset, shard, row, computed)
