"""Starting without the garbage collector: what imports make, stays."""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_open = 0
# The interpreter's last collection takes them too: extensions report what it leaves as leaked.
atexit.register(gc.unfreeze)


@contextmanager
def starting() -> Iterator[None]:
    """Around imports and loading: nothing is collected while any thread is inside.

    Dagster, torch and the rest make 600,000 objects that live as long as the process. Looking through them
    over and over while they come takes a fifth of the start, and once more for every full collection later;
    so those that are there when the last thread leaves are left out for good (``gc.freeze``).
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
