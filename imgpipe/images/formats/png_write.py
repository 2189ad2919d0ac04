"""PNG pictures of 1 to 4 channels in 8 and 16 bits, fast and small at once.

Writers usually fix how rows are filtered and packed. What is best depends on the picture: the smooth ones
that networks make pack best by codes or runs alone, drawn ones with repeated patterns by looking back. So a
sample of the rows is packed in each way of the wanted effort, and the whole in the way that did best.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from zlib_ng import zlib_ng

from imgpipe.images.formats.png import SIGNATURE, make_chunk
from imgpipe.images.formats.png_filter import Bytes, Filter, filter_rows
from imgpipe.images.image import Pixels

Effort = Literal["fast", "balanced", "small"]

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_IDAT_BYTES = 1 << 24
#: A sample of the rows: four bands, each of this share of them and this many bytes at least, within which
#: deflate has something to look back at.
_BANDS, _BAND_SHARE, _BAND_BYTES = 4, 1 / 64, 32_768


@dataclass(frozen=True, slots=True)
class _Packing:
    """A way of deflate. ``toll``: how much fewer its bytes must be than a quicker way's to be worth it."""

    level: int
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    toll: float = 1.0


_RUNS = _Packing(1, zlib.Z_RLE)
_CODES_ONLY = _Packing(1, zlib.Z_HUFFMAN_ONLY)
#: Effort -> the filters and packings that are tried.
_PLANS: dict[Effort, tuple[tuple[Filter, ...], tuple[_Packing, ...]]] = {
    "fast": (("paeth",), (_RUNS, _CODES_ONLY, _Packing(3, toll=1.03))),
    "balanced": (("paeth", "adaptive"), (_RUNS, _CODES_ONLY, _Packing(6, toll=1.01))),
    "small": (
        ("none", "up", "paeth", "adaptive"),
        (_RUNS, _CODES_ONLY, _Packing(9), _Packing(9, zlib.Z_FILTERED)),
    ),
}


def write_png(pixels: Pixels, effort: Effort) -> bytes:
    """A PNG of (height, width, 1..4) uint8 or uint16 pixels, without metadata."""
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    stored = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"), copy=False))
    packed = _packed(stored.view(np.uint8).reshape(height, -1), channels * depth // 8, effort)
    pieces = [packed[at : at + _IDAT_BYTES] for at in range(0, len(packed), _IDAT_BYTES)]
    data = [make_chunk(b"IDAT", piece) for piece in pieces]
    return b"".join([SIGNATURE, make_chunk(b"IHDR", header), *data, make_chunk(b"IEND", b"")])


def _packed(rows: Bytes, step: int, effort: Effort) -> bytes:
    """The zlib stream of the rows."""
    filters, packings = _PLANS[effort]
    bands = _sample(*rows.shape)
    filtered = {kind: _filter_bands(rows, bands, step, kind) for kind in filters}
    tried = {(kind, packing): _deflate(filtered[kind], packing) for kind in filters for packing in packings}
    kind, packing = min(tried, key=lambda way: len(tried[way]) * way[1].toll)
    if packing is _CODES_ONLY:
        # Where neither runs nor repetitions are worth anything, as in what networks make, averages often take
        # up to 5% fewer bytes, and readers undo them in less than half of Paeth's time.
        smooth = _deflate(_filter_bands(rows, bands, step, "average"), packing)
        if len(smooth) < len(tried[kind, packing]):
            kind, tried["average", packing] = "average", smooth
    if bands == [(0, len(rows))]:
        return tried[kind, packing]
    return _deflate(filter_rows(rows, step, kind), packing)


def _sample(height: int, row_bytes: int) -> list[tuple[int, int]]:
    """(first row, row behind the last) of bands that are spread evenly.

    All rows where the bands would be more than half of them.
    """
    count = max(int(height * _BAND_SHARE), _BAND_BYTES // row_bytes, 1)
    if 2 * _BANDS * count > height:
        return [(0, height)]
    tops = [(2 * band + 1) * height // (2 * _BANDS) - count // 2 for band in range(_BANDS)]
    return [(top, top + count) for top in tops]


def _filter_bands(rows: Bytes, bands: list[tuple[int, int]], step: int, kind: Filter) -> Bytes:
    """The filtered rows of the bands, each by the row that stands above it in the picture.

    The row above it in the sample would cost "average" and "up" more bytes than they save.
    """
    parts = [filter_rows(rows[max(top - 1, 0) : end], step, kind)[min(top, 1) :] for top, end in bands]
    return np.concatenate(parts)


def _deflate(rows: Bytes, packing: _Packing) -> bytes:
    stream = zlib_ng.compressobj(packing.level, zlib.DEFLATED, zlib.MAX_WBITS, 9, packing.strategy)
    return b"".join([stream.compress(rows.data), stream.flush()])
