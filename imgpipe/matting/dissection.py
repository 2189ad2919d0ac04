"""The order in which a band's unknowns are eliminated: nested dissection by place.

The pixels are cut in two by a line so thick that no window reaches across it, both parts are cut again, and
each line is eliminated after the parts beside it (George 1973, "Nested Dissection of a Regular Finite Element
Mesh"). A band is thin, so that there is a short line near the middle of every part. SuperLU's minimum degree
ordering sees the matrix alone, and holds the GIL for a fifth of the factor's time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Parts up to so many blocks are not cut.
_LEAF = 4

#: Which side of a cut; the line comes last.
_LINE = 2

Index = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


def dissection(unknowns: Index, width: int) -> Index:
    """(n,) positions in ``unknowns``, the one that is eliminated first first.

    ``unknowns``: flat indices, ascending, in a picture of ``width`` px; the matrix joins pixels that are at
    most 2 px apart along each axis.
    """
    down, across = np.divmod(unknowns, width)
    # A line of blocks of 2x2 px is as thick as it must be.
    blocks, block, pixels = np.unique(
        down // 2 * width + across // 2, return_inverse=True, return_counts=True
    )
    places = np.stack(np.divmod(blocks, width))
    key = np.zeros(blocks.size, np.int64)
    inside, sizes = np.arange(blocks.size), np.array([blocks.size])
    for shift in range(60, -1, -2):
        lies_at = places[:, inside]
        # Along both axes at once: every part twice.
        costs, lines = _lines(lies_at.ravel(), np.tile(pixels[inside], 2), np.tile(sizes, 2))
        axis = np.argmin(costs.reshape(2, -1), axis=0)
        part = np.repeat(np.arange(sizes.size), sizes)
        lies = lines.reshape(2, -1)[axis, np.arange(sizes.size)][part]
        along = np.where(axis[part] == 0, *lies_at)
        side = np.where(along == lies, _LINE, along > lies)
        key[inside] |= side << shift
        child, cut = 2 * part + side, side != _LINE
        counts = np.bincount(child[cut], minlength=2 * sizes.size + 1)
        cut &= counts[child] > _LEAF
        inside, sizes = inside[cut][np.argsort(child[cut], kind="stable")], counts[counts > _LEAF]
        if not inside.size:
            break
    return np.argsort(key[block], kind="stable")


def _lines(places: Index, pixels: Index, sizes: Index) -> tuple[Float, Index]:
    """Each part's best line across ``places``: its pixels over those of the smaller side, and its place.

    ``sizes``: how many of ``places`` each part has, part by part."""
    part, starts = np.repeat(np.arange(sizes.size), sizes), np.cumsum(sizes) - sizes
    low = np.minimum.reduceat(places, starts)
    extent = np.maximum.reduceat(places, starts) - low + 1
    first = np.cumsum(extent) - extent
    lines = np.bincount((first - low)[part] + places, pixels, int(extent.sum()))
    of = np.repeat(np.arange(starts.size), extent)
    before = np.cumsum(lines) - lines
    before -= before[first][of]
    behind = np.add.reduceat(lines, first)[of] - lines - before
    costs = (lines + 0.5) / np.maximum(np.minimum(before, behind), 1e-3)
    least = np.minimum.reduceat(costs, first)
    best = np.flatnonzero(costs == least[of])
    return least, best[np.searchsorted(of[best], np.arange(sizes.size))] - first + low
