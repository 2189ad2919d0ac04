"""Pictures in strips of rows, which bound the memory of temporary planes and keep them in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def spans(start: int, stop: int, step: int) -> Iterator[slice]:
    """``start``..``stop`` in pieces of ``step``, the last one what remains."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def bands(length: int, rows: int, most: int) -> Iterator[slice]:
    """Whole bands of ``rows`` rows of ``length``, evenly spread where there are more than ``most``; one that
    is shorter where not one is whole."""
    count = length // rows
    for band in np.unique(np.linspace(0, max(0, count - 1), max(1, min(count, most))).astype(int)):
        yield slice(rows * int(band), min(rows * int(band) + rows, length))
