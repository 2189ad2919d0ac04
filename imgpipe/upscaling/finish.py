"""From a network's output to the wanted picture: size, colour correction and bit depth, in one pass.

Everything happens in float32 on strips of rows, on all cores; the result is rounded once, at the end.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.bilinear import widened_rows
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.color_match import Floats
from imgpipe.upscaling.compiled import compiled
from imgpipe.upscaling.network import NATIVE_MAX, Native

#: Pixels of the result that a thread works on at once: they stay in its core's cache.
STRIP_PIXELS = 2**17


def finish(
    native: Native,
    width: int,
    height: int,
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16],
    correction: Floats | None,
) -> Pixels:
    """``native`` (h, w, 3) at ``height`` x ``width`` as ``dtype``, with ``correction`` added.

    ``correction``: (h', w', 3) float32, 1.0 = full range, at any resolution, enlarged bilinearly; ``None``
    adds nothing. Other sizes than the native one are reached by antialiased Lanczos.
    """
    result = np.empty((height, width, 3), dtype)
    same_size = native.shape[:2] == (height, width)
    vertical = None if same_size else AxisFilter(native.shape[0], height)
    horizontal = None if same_size else AxisFilter(native.shape[1], width)
    strip_rows = max(1, STRIP_PIXELS // max(width, native.shape[1]))
    added = np.zeros((1, 1, 3), np.float32) if correction is None else correction

    def work(rows: slice) -> None:
        if vertical is None or horizontal is None:
            strip: npt.NDArray[Any] = native[rows]
        else:
            source = native[vertical.needs(rows)].astype(np.float32)
            strip = horizontal.along_columns(vertical.along_rows(source, rows))
        wide, upper, lower, share = widened_rows(added, width, height, rows)
        _blend(_flat(strip), _flat(wide), upper, lower, share, _flat(result[rows]), full)

    full = np.float32(np.iinfo(dtype).max)
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="imgpipe-finish") as pool:
        for _ in pool.map(work, spans(0, height, strip_rows)):
            pass  # an exception of a strip is raised here
    return result


def _flat(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows.reshape(len(rows), -1)


@compiled
def _blend(native: Any, correction: Any, upper: Any, lower: Any, share: Any, result: Any, full: Any) -> None:
    """Each row of ``native`` with two of the ``correction``, by its ``share`` of the lower one."""
    unit, half, zero = full / np.float32(NATIVE_MAX), np.float32(0.5), np.float32(0)
    for y in range(len(native)):
        values, above, below, out = native[y], correction[upper[y]], correction[lower[y]], result[y]
        for index in range(len(values)):
            more = above[index] + (below[index] - above[index]) * share[y]
            value = np.float32(values[index]) * unit + more * full + half
            out[index] = np.int32(min(max(value, zero), full))
