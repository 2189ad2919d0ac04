"""Pictures in strips of rows, which bound the memory of temporary planes and keep them in the cache."""

from __future__ import annotations

from collections.abc import Iterator


def spans(start: int, stop: int, step: int) -> Iterator[slice]:
    """``start``..``stop`` in pieces of ``step``, the last one what remains."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
