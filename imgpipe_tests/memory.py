"""How much memory numpy takes at most while something is computed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Peak:
    """``bytes``: the most that was held beyond what was held at the start; set when the block ends."""

    bytes: int = 0


@contextmanager
def numpy_peak() -> Iterator[Peak]:
    """Counts what Python and numpy ask for, not what libraries allocate by themselves."""
    found = Peak()
    tracemalloc.start()
    try:
        yield found
    finally:
        found.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
