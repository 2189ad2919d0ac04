"""Finest texture: how much an enlargement has that a median of 3x3 px would take away.

Whatever enlarges a picture that is not soft leaves some: kernels bend, networks draw no plain slope. Filters
that smooth and keep edges (bilateral, median, diffusion) leave next to none, on edges and between them alike,
since their results are flats and slopes that a median does not change. By how much the pixels differ from the
median around them is divided by the range there, so that soft and hard pictures compare.
"""

from __future__ import annotations

import cv2
import numpy as np

from imgpipe.pixels.round_trip import Bytes
from imgpipe.pixels.strips import bands

#: Enlargements that are measured. Below, results that were reduced to their size have as little; above, those
#: of networks by 4 that were enlarged further.
MIN_SCALE, MAX_SCALE = 2.9, 6.1
#: Ranges within 3x3 px that count, 1/255: none where the picture is flat, none across hard edges.
_LEAST, _MOST = 2, 40
_MIN_PX = 500
#: What no limit asks for more of, and what cubic enlargements of all but soft pictures have.
_PLENTY, _SOFT = 0.03, 0.008
#: Rows of a band, and how many evenly spread ones are looked at.
_BAND_ROWS, _BANDS = 64, 32
_WINDOW = np.ones((3, 3), np.uint8)


def finest_texture(source: Bytes, result: Bytes) -> float | None:
    """Differences from the median of 3x3 px over ranges within 3x3 px, each summed over the pixels of a luma
    ``result`` (height, width) uint8 whose range is 2..40; 0..1.

    ``None`` where those are fewer than 500, and where there is little while a plain enlargement of
    ``source``, its luma, has next to none either: what is soft or made of slopes stays so.
    """
    texture = _texture(result)
    if texture is None or texture >= _PLENTY:
        return texture
    plain = _texture(
        np.asarray(cv2.resize(source, result.shape[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    )
    return None if plain is None or plain < _SOFT else texture


def _texture(result: Bytes) -> float | None:
    away, ranges, count = 0.0, 0.0, 0
    for rows in bands(result.shape[0], _BAND_ROWS, _BANDS):
        first = max(0, rows.start - 1)
        strip = result[first : rows.stop + 1]
        own = slice(rows.start - first, rows.stop - first)
        spread = cv2.morphologyEx(strip, cv2.MORPH_GRADIENT, _WINDOW)[own]
        counts = cv2.inRange(spread, _LEAST, _MOST)
        here = cv2.countNonZero(counts)
        away += here * cv2.mean(cv2.absdiff(strip, cv2.medianBlur(strip, 3))[own], counts)[0]
        ranges += here * cv2.mean(spread, counts)[0]
        count += here
    return away / ranges if count >= _MIN_PX else None
