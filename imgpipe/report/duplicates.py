"""Near-duplicates: pictures whose coarse structure is the same.

A 64-bit difference hash (dHash, N. Krawetz 2013): the picture as 9 x 8 grey cells, one bit for each
pair of neighbours in a row. Sizes, formats and compression change few bits; colours count only through
their brightness, so a recoloured copy is found as well.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

#: Hashes that differ in at most this many of 64 bits belong together.
MAX_DISTANCE = 4
#: Cells that differ by less than this (of 255) have no structure to compare: an empty page is no duplicate.
MIN_CONTRAST = 4.0
#: Minimum number of set and of unset bits for a hash to be compared.
_MIN_BITS = 6


def dhash(rgb: npt.NDArray[np.uint8]) -> int | None:
    """The 64-bit hash of an RGB picture (height, width, 3), uint8; ``None`` where it has no structure."""
    cells = cv2.resize(
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (9, 8), interpolation=cv2.INTER_AREA
    )
    if float(cells.max() - cells.min()) < MIN_CONTRAST:
        return None
    # A margin keeps the rounding of another size or encoder from deciding bits in flat areas.
    bits = np.asarray(cells[:, 1:] > cells[:, :-1] + 0.5)
    count = int(bits.sum())
    if not _MIN_BITS <= count <= 64 - _MIN_BITS:
        return None
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def group_near_duplicates(hashes: pd.Series, max_distance: int = MAX_DISTANCE) -> pd.Series:
    """Group numbers (0, 1, ...) for an index -> hash series (hexadecimal text; missing values allowed).

    Pictures connected by pairs of at most ``max_distance`` bits share a group; only groups of two or
    more are returned, numbered by their first member. Exact for every distance: two hashes within d
    bits agree wholly in one of d + 1 bands, so that only hashes that share a band are compared.
    """
    known = hashes.dropna()
    unique = pd.Series(known.unique())
    values = np.array([int(text, 16) for text in unique], dtype=np.uint64)
    by_hash = dict(zip(unique, _components(values, max_distance), strict=True))
    groups = known.map(by_hash)
    groups = groups[groups.duplicated(keep=False)]
    return pd.Series(pd.factorize(groups)[0], groups.index, dtype="int64")


def _components(values: npt.NDArray[np.uint64], max_distance: int) -> npt.NDArray[np.int32]:
    """Number of every hash's component, where hashes within ``max_distance`` are joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = _close_pairs(values, max_distance).T
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(values), len(values)))
    return np.asarray(connected_components(links, directed=False)[1])


def _close_pairs(values: npt.NDArray[np.uint64], max_distance: int) -> npt.NDArray[np.int64]:
    """(n, 2) indices of hashes that differ in ``max_distance`` bits at most, compared row by row."""
    found = [np.empty((0, 2), np.int64)]
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        for members in pd.Series(band).groupby(band).indices.values():
            for place, first in enumerate(members[:-1]):
                others = members[place + 1 :]
                close = others[np.bitwise_count(values[first] ^ values[others]) <= max_distance]
                if len(close):
                    found.append(np.column_stack([np.full(len(close), first), close]))
    return np.concatenate(found)
