"""A model that is built once, by whoever needs it first, with the time that it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Model = TypeVar("Model")


class Loaded(Generic[Model]):
    """What ``build`` makes. ``seconds``: how long that took, 0.0 before; safe to call from several threads.

    A build that raises is tried again by the next caller.
    """

    def __init__(self, build: Callable[[], Model]) -> None:
        self.seconds = 0.0
        self._build = build
        self._made: list[Model] = []
        self._lock = threading.Lock()

    def get(self) -> Model:
        with self._lock:
            if not self._made:
                begin = time.perf_counter()
                self._made.append(self._build())
                self.seconds = time.perf_counter() - begin
            return self._made[0]
