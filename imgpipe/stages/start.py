"""Imports and model loading without garbage collection: what they allocate lives as long as the process."""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_open = 0
# At exit the frozen objects must be collected: extensions report the rest as leaked.
atexit.register(gc.unfreeze)


@contextmanager
def starting() -> Iterator[None]:
    """Suspend garbage collection while any thread is inside.

    Dagster, torch and others allocate 600,000 objects that live as long as the process. Collections during
    imports take a fifth of the start-up time, and every later full collection visits these objects again; so
    the objects that exist when the last thread leaves are frozen (``gc.freeze``).
    """
    global _open
    with _lock:
        _open += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if not _open:
                gc.freeze()
                gc.enable()
