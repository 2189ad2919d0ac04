"""Threads that share the work of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Space = TypeVar("Space")


class Team(Generic[Space]):
    """Threads, the calling one among them, each with memory of its own: one for each of ``spaces``."""

    def __init__(self, spaces: Sequence[Space]) -> None:
        self._spaces = spaces
        self._pool = ThreadPoolExecutor(max(1, len(spaces) - 1), thread_name_prefix="imgpipe-layer")

    def __enter__(self) -> Team[Space]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, work: Callable[[Space], None]) -> None:
        """Call ``work`` in each thread; returns when all are done and raises what one raised."""
        others = [self._pool.submit(work, space) for space in self._spaces[1:]]
        work(self._spaces[0])
        for other in others:
            other.result()
