"""Bilinear enlargement of a range of rows: memory follows the strip, not the picture."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.resize import cv2_resize

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class Rows(Protocol):
    """An array, or what is read like one by slices of rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(h, w[, c])."""

    def __getitem__(self, rows: slice, /) -> Floats:
        """float32."""


def rows_between(length: int, height: int, rows: slice) -> slice:
    """The rows, of ``length``, that :func:`enlarged_rows` mixes for ``rows`` of ``height``."""
    upper, lower, _ = _mixed(length, height, rows)
    return slice(int(upper[0]), int(lower[-1]) + 1)


def enlarged_rows(values: Rows, width: int, height: int, rows: slice) -> Floats:
    """Rows ``rows`` of ``values`` (h, w[, c]) enlarged to ``width`` x ``height``: (n, width[, c]) float32.

    Pixel centres are aligned and borders repeated, as in ``cv2.resize(INTER_LINEAR)`` of the whole.
    """
    upper, lower, share = _mixed(values.shape[0], height, rows)
    share = share.reshape(-1, *(1,) * (len(values.shape) - 1))
    first, stop = int(upper[0]), int(lower[-1]) + 1
    wide = cv2_resize(np.ascontiguousarray(values[first:stop]), (width, stop - first), cv2.INTER_LINEAR)
    result: Floats = np.take(wide, upper - first, axis=0)
    result *= 1 - share
    below = np.take(wide, lower - first, axis=0)
    below *= share
    result += below
    return result


def _mixed(length: int, height: int, rows: slice) -> tuple[Indices, Indices, Floats]:
    """For each of ``rows`` of ``height``: the rows of ``length`` around it, and the share of the second."""
    at = np.clip((np.arange(rows.start, rows.stop) + 0.5) * length / height - 0.5, 0, length - 1)
    upper = np.floor(at).astype(np.intp)
    return upper, np.minimum(upper + 1, length - 1), (at - upper).astype(np.float32)
