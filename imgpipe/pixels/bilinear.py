"""Bilinear enlargement of a range of rows: memory follows the strip, not the picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.resize import cv2_resize

Floats = npt.NDArray[np.float32]


def enlarged_rows(values: Floats, width: int, height: int, rows: slice) -> Floats:
    """Rows ``rows`` of ``values`` (h, w[, c]) enlarged to ``width`` x ``height``: (n, width[, c]) float32.

    Pixel centres are aligned and borders repeated, as in ``cv2.resize(INTER_LINEAR)`` of the whole.
    """
    at = np.clip((np.arange(rows.start, rows.stop) + 0.5) * len(values) / height - 0.5, 0, len(values) - 1)
    upper = np.floor(at).astype(np.intp)
    lower = np.minimum(upper + 1, len(values) - 1)
    share = (at - upper).astype(np.float32).reshape(-1, *(1,) * (values.ndim - 1))
    first, stop = int(upper[0]), int(lower[-1]) + 1
    wide = cv2_resize(np.ascontiguousarray(values[first:stop]), (width, stop - first), cv2.INTER_LINEAR)
    result: Floats = wide[upper - first] * (1 - share) + wide[lower - first] * share
    return result
