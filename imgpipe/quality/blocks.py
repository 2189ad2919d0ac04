"""Pictures cut into blocks small enough that a block's planes stay in a core's cache.

A metric that takes many passes over whole planes waits for the memory, and for the system that must hand
out and clear each plane. The same passes block by block cost what their arithmetic costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgpipe.pixels.strips import spans

BLOCK_ROWS, BLOCK_COLUMNS = 64, 512

Region = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Block:
    """``own``: rows and columns that belong to this block and to no other; ``seen``: with a margin around,
    less at the picture's border, where a filter's own border rule applies; ``inner``: ``own`` in ``seen``.
    """

    own: Region
    seen: Region
    inner: Region


def blocks(shape: tuple[int, ...], margin: int, *, inset: int = 0) -> Iterator[Block]:
    """Blocks of a (height, width[, ...]) picture with ``margin`` px around them, row by row.

    The outermost ``inset`` px of the picture belong to no block, but are seen.
    """
    height, width = shape[:2]
    for rows in spans(inset, height - inset, BLOCK_ROWS):
        for columns in spans(inset, width - inset, BLOCK_COLUMNS):
            seen = _widened(rows, margin, height), _widened(columns, margin, width)
            inner = _moved(rows, -seen[0].start), _moved(columns, -seen[1].start)
            yield Block((rows, columns), seen, inner)


def _widened(span: slice, margin: int, length: int) -> slice:
    return slice(max(0, span.start - margin), min(span.stop + margin, length))


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
