"""From a network's output to the wanted picture: size, colour correction and bit depth, in one pass.

Everything happens in float32 on strips of rows, on all cores; the result is rounded once, at the end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.inference.threads import network_threads
from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.bilinear import enlarged_rows
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.color_match import Floats
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
    full = float(np.iinfo(dtype).max)
    strip_rows = max(1, STRIP_PIXELS // max(width, native.shape[1]))

    def work(rows: slice) -> None:
        if vertical is None or horizontal is None:
            strip: npt.NDArray[Any] = native[rows]
        else:
            source = native[vertical.needs(rows)].astype(np.float32)
            strip = horizontal.along_columns(vertical.along_rows(source, rows))
        values = strip.astype(np.float32, copy=False)  # a copy: levels are integers
        values *= full / NATIVE_MAX
        if correction is not None:
            values += enlarged_rows(correction, width, height, rows) * full
        values += 0.5  # with the cast, which cuts off, this rounds half up
        result[rows] = np.clip(values, 0.0, full, out=values)

    with ThreadPoolExecutor(network_threads(), thread_name_prefix="imgpipe-finish") as pool:
        for _ in pool.map(work, spans(0, height, strip_rows)):
            pass  # an exception of a strip is raised here
    return result
