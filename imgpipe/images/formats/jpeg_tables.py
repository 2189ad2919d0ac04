"""How a JPEG was quantised and sampled (ITU-T T.81, B.2.2 and B.2.4.1)."""

from __future__ import annotations

import struct

from imgpipe.images.formats import jpeg
from imgpipe.images.image import JpegCoding

_DQT, _ADOBE = 0xDB, 0xEE
#: Zigzag order (T.81, figure A.6): place in the segment -> place in rows of the block.
_ZIGZAG = sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8))


def coding(data: bytes, name: str) -> JpegCoding | None:
    """Of a grey or YCbCr JPEG whose header :func:`jpeg.read` accepts; ``None`` for other colours, chroma
    planes that differ, and what has no tables, as a lossless JPEG."""
    tables: dict[int, tuple[int, ...]] = {}
    frame: memoryview | None = None
    adobe_rgb = False
    for marker, at, end in jpeg.segments(data, name):
        body = memoryview(data)[at + 4 : end]
        if marker == _DQT:
            tables |= _tables(body)
        elif marker in jpeg.SOF:
            frame = body
        elif marker == _ADOBE and bytes(body[:5]) == b"Adobe" and len(body) > 11:
            adobe_rgb = body[11] == 0
        elif marker == jpeg.SOS:
            break
    if frame is None or len(frame) < 6 + 3 * frame[5]:
        return None
    used = [(frame[at + 1], tables.get(frame[at + 2])) for at in range(6, 6 + 3 * frame[5], 3)]
    if len(used) == 1 and used[0][1] is not None:
        return JpegCoding(used[0][1])
    if len(used) != 3 or adobe_rgb or used[1] != used[2]:
        return None
    (luma_factors, luma), (chroma_factors, chroma) = used[:2]
    if luma is None or chroma is None or chroma_factors != 0x11:
        return None
    return JpegCoding(luma, chroma, (luma_factors & 15, luma_factors >> 4))


def _tables(body: memoryview) -> dict[int, tuple[int, ...]]:
    """Number -> 64 steps in rows; a table that is cut off is left out."""
    found: dict[int, tuple[int, ...]] = {}
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        size = 128 if wide else 64
        if at + 1 + size > len(body):
            break
        steps = struct.unpack_from(">64H" if wide else ">64B", body, at + 1)
        rows = [0] * 64
        for place, step in zip(_ZIGZAG, steps, strict=True):
            rows[place] = max(1, step)
        found[number] = tuple(rows)
        at += 1 + size
    return found
