"""PNG with grey + alpha, which OpenCV cannot write, in 8 and 16 bits."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.images.png import SIGNATURE, make_chunk


def write_grey_alpha(pixels: Pixels, level: int) -> bytes:
    """A PNG of colour type 4 from (height, width, 2) pixels; ``level`` is zlib's 1..9."""
    height, width, _ = pixels.shape
    depth = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth, 4, 0, 0, 0)
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"))).view(np.uint8)
    body = zlib.compress(_filtered(rows.reshape(height, -1), 2 * depth // 8).tobytes(), level)
    return b"".join(
        [SIGNATURE, make_chunk(b"IHDR", header), make_chunk(b"IDAT", body), make_chunk(b"IEND", b"")]
    )


def _filtered(rows: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    """Each row under the filter None, Sub or Up (PNG, section 9) with the least sum of absolute values."""
    sub, up = rows.copy(), rows.copy()
    sub[:, step:] -= rows[:, :-step]
    up[1:] -= rows[:-1]
    options = np.stack([rows, sub, up])
    cost = np.abs(options.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = cost.argmin(axis=0)
    chosen = options[best, np.arange(len(rows))]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1)
