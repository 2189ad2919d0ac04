"""PNG writing: 1 to 4 channels of 8 or 16 bits, with filter and deflate strategy chosen per picture.

The best choice depends on the picture: smooth output of networks compresses best with Huffman codes or runs
alone, drawings with repeated patterns with matches. A sample of the rows is compressed in each way of the
wanted effort, and the whole picture in the way that did best.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from zlib_ng import zlib_ng

from imgpipe.images.formats.png import SIGNATURE, chunk_parts, make_chunk
from imgpipe.images.formats.png_filter import Bytes, Filter, filter_rows
from imgpipe.images.image import Pixels

#: ``loose`` and ``stored`` are for files that shall be large: codes without runs, and no compression at all.
Effort = Literal["stored", "loose", "fast", "balanced", "small"]

_COLOUR_TYPES, _INDEXED = {1: 0, 2: 4, 3: 2, 4: 6}, 3
#: Rows of this size in all are filtered and compressed at once.
_BLOCK_BYTES = 1 << 22
#: A sample of the rows: four bands, each of this share of them and this many bytes at least, within which
#: deflate has something to look back at.
_BANDS, _BAND_SHARE, _BAND_BYTES = 4, 1 / 256, 65_536


@dataclass(frozen=True, slots=True)
class _Packing:
    """Deflate parameters. ``toll``: its bytes count this many times, since it is slower than the others."""

    level: int
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    toll: float = 1.0


_RUNS = _Packing(1, zlib.Z_RLE)
_CODES_ONLY = _Packing(1, zlib.Z_HUFFMAN_ONLY)
#: Effort -> the filters and deflate parameters that are tried.
_PLANS: dict[Effort, tuple[tuple[Filter, ...], tuple[_Packing, ...]]] = {
    "stored": (("none",), (_Packing(0),)),
    "loose": (("paeth",), (_Packing(1, zlib.Z_HUFFMAN_ONLY),)),
    "fast": (("paeth",), (_RUNS, _CODES_ONLY, _Packing(3, toll=1.03))),
    "balanced": (("paeth", "adaptive"), (_RUNS, _CODES_ONLY, _Packing(6, toll=1.01))),
    "small": (
        ("none", "up", "paeth", "adaptive"),
        (_RUNS, _CODES_ONLY, _Packing(9), _Packing(9, zlib.Z_FILTERED)),
    ),
}


def write_png(pixels: Pixels, effort: Effort, described: bytes = b"") -> bytes:
    """A PNG of (height, width, 1..4) uint8 or uint16 pixels; ``described``: chunks that follow its header.

    The rows are filtered and compressed a block at a time: beside the pixels and the file it holds one block.
    """
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    file = io.BytesIO(SIGNATURE + make_chunk(b"IHDR", header) + described)
    file.seek(0, io.SEEK_END)
    for piece in _packed(pixels, channels * depth // 8, effort):
        file.writelines(chunk_parts(b"IDAT", piece) if piece else ())
    file.write(make_chunk(b"IEND", b""))
    return file.getvalue()


def write_indexed_png(indices: Bytes, colours: Bytes) -> bytes:
    """A PNG of (height, width) indices of ``colours``, (256 at most, 3) RGB; all uint8.

    Not filtered, as indices that are near need not be colours that are near, and with Huffman codes alone: in
    a third of the time that matches take, for a tenth to a third more bytes.
    """
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)
    chunks = {
        b"IHDR": header,
        b"PLTE": colours.tobytes(),
        b"IDAT": _deflate(filter_rows(indices, 1, "none"), _CODES_ONLY),
        b"IEND": b"",
    }
    return SIGNATURE + b"".join(make_chunk(kind, body) for kind, body in chunks.items())


def _packed(pixels: Pixels, step: int, effort: Effort) -> Iterator[bytes]:
    """The zlib stream of the picture, ``step`` bytes per pixel, in parts."""
    height, width = pixels.shape[:2]
    filters, packings = _PLANS[effort]
    bands = _sample(height, width * step)
    filtered = {kind: _filter_bands(pixels, bands, step, kind) for kind in filters}
    tried = {(kind, packing): _deflate(filtered[kind], packing) for kind in filters for packing in packings}
    kind, packing = min(tried, key=lambda way: len(tried[way]) * way[1].toll)
    if packing is _CODES_ONLY:
        # Where neither runs nor matches help, as in output of networks, the average filter often takes up to
        # 5% fewer bytes, and readers undo it in less than half of Paeth's time.
        smooth = _deflate(_filter_bands(pixels, bands, step, "average"), packing)
        if len(smooth) < len(tried[kind, packing]):
            kind, tried["average", packing] = "average", smooth
    if bands == [(0, height)]:
        yield tried[kind, packing]
        return
    stream = _compressor(packing)
    count = max(1, _BLOCK_BYTES // (width * step))
    for top in range(0, height, count):
        block = _filter_bands(pixels, [(top, min(top + count, height))], step, kind)
        yield stream.compress(block.data)
    yield stream.flush()


def _sample(height: int, row_bytes: int) -> list[tuple[int, int]]:
    """(first row, row behind the last) of bands that are spread evenly.

    All rows where the bands would be more than half of them.
    """
    count = max(int(height * _BAND_SHARE), _BAND_BYTES // row_bytes, 1)
    if 2 * _BANDS * count > height:
        return [(0, height)]
    tops = [(2 * band + 1) * height // (2 * _BANDS) - count // 2 for band in range(_BANDS)]
    return [(top, top + count) for top in tops]


def _filter_bands(pixels: Pixels, bands: list[tuple[int, int]], step: int, kind: Filter) -> Bytes:
    """The filtered rows of the bands; a band's first row is predicted from the picture's row above it.

    The row above it in the sample would cost "average" and "up" more bytes than they save.
    """
    stored = (_stored(pixels[max(top - 1, 0) : end]) for top, end in bands)
    parts = [
        filter_rows(rows, step, kind)[min(top, 1) :] for rows, (top, _) in zip(stored, bands, strict=True)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _stored(pixels: Pixels) -> Bytes:
    """(rows, row bytes): samples as they lie in the file, 16-bit ones with the high byte first."""
    samples = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"), copy=False))
    return samples.view(np.uint8).reshape(len(pixels), -1)


def _compressor(packing: _Packing) -> Any:
    return zlib_ng.compressobj(packing.level, zlib.DEFLATED, zlib.MAX_WBITS, 9, packing.strategy)


def _deflate(rows: Bytes, packing: _Packing) -> bytes:
    stream = _compressor(packing)
    return b"".join([stream.compress(rows.data), stream.flush()])
