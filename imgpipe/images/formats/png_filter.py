"""The PNG filters (W3C PNG, third edition, section 9), applied to a picture a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Filter = Literal["none", "up", "average", "paeth", "adaptive"]

#: Blocks of rows that stay in the processor's cache through all passes.
_BLOCK_BYTES = 131_072


def filter_rows(rows: Bytes, step: int, kind: Filter) -> Bytes:
    """(height, row bytes) -> (height, 1 + row bytes): each row behind its filter's number.

    ``rows``: samples as they lie in the file, 16-bit ones with the high byte first. ``step``: bytes per
    pixel. ``adaptive``: per row, of all five filters, the one with the least sum of absolute differences
    (section 12.7); the others are used for every row.
    """
    height, size = rows.shape
    result = np.empty((height, size + 1), np.uint8)
    count = max(1, _BLOCK_BYTES // size)
    # One row above and one pixel to the left of the block: zero at the picture's border.
    window = np.zeros((count + 1, step + size), np.uint8)
    for top in range(0, height, count):
        block = rows[top : top + count]
        if top:
            window[0, step:] = rows[top - 1]
        window[1 : len(block) + 1, step:] = block
        used, filtered = window[: len(block) + 1], result[top : top + count]
        if kind == "adaptive":
            _adaptive(used, step, filtered)
        else:
            number, predict = _FILTERS[kind]
            filtered[:, 0] = number
            np.subtract(used[1:, step:], predict(used, step), out=filtered[:, 1:])
    return result


def _adaptive(window: Bytes, step: int, result: Bytes) -> None:
    left, above, current = window[1:, :-step], window[:-1, step:], window[1:, step:]
    mean, paeth = _average_prediction(window, step), _paeth_prediction(window, step)
    predictions = [np.zeros_like(current), left, above, mean, paeth]
    options = np.stack([current - prediction for prediction in predictions])
    # A byte is a difference of -128..127, so that its size is the smaller of v and 256 - v.
    costs = np.minimum(options, np.negative(options)).sum(axis=2, dtype=np.int64)
    best = costs.argmin(axis=0)
    result[:, 0] = best
    result[:, 1:] = options[best, np.arange(len(best))]


def _average_prediction(window: Bytes, step: int) -> Bytes:
    """floor((left + above) / 2) without a ninth bit."""
    left, above = window[1:, :-step], window[:-1, step:]
    mean = np.bitwise_xor(left, above)
    np.right_shift(mean, 1, out=mean)
    mean += left & above
    return mean


def _paeth_prediction(window: Bytes, step: int) -> Bytes:
    """Of left (a), above (b) and corner (c) the one nearest to a + b - c; ties in this order (section 9.4).

    The distances are |b - c|, |a - c| and |(a - c) + (b - c)|. Where a and b lie on different sides of c, the
    third is the difference of the first two; where they lie on the same side it is their sum, which is
    never the smallest, and 255 does as well: all of it fits into bytes.
    """
    size = (window.shape[0] - 1, window.shape[1] - step)
    left, above, corner = window[1:, :-step], window[:-1, step:], window[:-1, :-step]
    to_left, to_above, to_corner, mask, prediction = (np.empty(size, np.uint8) for _ in range(5))
    cv2.absdiff(above, corner, dst=to_left)
    cv2.absdiff(left, corner, dst=to_above)
    cv2.absdiff(to_left, to_above, dst=to_corner)
    cv2.compare(left, corner, cv2.CMP_LT, dst=mask)
    cv2.compare(above, corner, cv2.CMP_LT, dst=prediction)
    cv2.compare(mask, prediction, cv2.CMP_EQ, dst=mask)
    cv2.bitwise_or(to_corner, mask, dst=to_corner)
    np.copyto(prediction, corner)
    cv2.compare(to_above, to_corner, cv2.CMP_LE, dst=mask)
    cv2.copyTo(above, mask, dst=prediction)
    cv2.min(to_above, to_corner, dst=to_corner)
    cv2.compare(to_left, to_corner, cv2.CMP_LE, dst=mask)
    cv2.copyTo(left, mask, dst=prediction)
    return prediction


#: Number of a filter that is used for every row, and what it predicts of the window's lower right part.
_FILTERS: dict[Filter, tuple[int, Callable[[Bytes, int], Bytes | int]]] = {
    "none": (0, lambda window, step: 0),
    "up": (2, lambda window, step: window[:-1, step:]),
    "average": (3, _average_prediction),
    "paeth": (4, _paeth_prediction),
}
