"""Antialiased Lanczos and bicubic along one axis, a strip of the result at a time.

The step from a network's factor to the wanted size runs on pictures of hundreds of megapixels; doing it
by strips needs the filter's weights, which whole-picture resizers do not return.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Samples = TypeVar("Samples", Floats, Doubles)

Convolution = Literal["lanczos", "bicubic"]

_COLUMNS_AT_ONCE = 64


class AxisFilter:
    """Resamples ``source_length`` samples to ``target_length`` with Lanczos (a = 3) or bicubic (a = -0.5).

    When reducing, the kernel is stretched by the ratio, so frequencies that the result cannot hold are
    removed (Turkowski, Filters for Common Resampling Tasks, 1990). At the ends the kernel is cut off and
    its weights are normalised again, so that constants stay constant.
    """

    def __init__(self, source_length: int, target_length: int, kernel: Convolution = "lanczos") -> None:
        ratio = source_length / target_length
        stretch = max(1.0, ratio)
        radius, weight_at = _KERNELS[kernel]
        centres = (np.arange(target_length) + 0.5) * ratio - 0.5
        taps = 2 * int(np.ceil(radius * stretch)) + 1
        self._first = np.floor(centres - radius * stretch).astype(np.intp) + 1
        indices = self._first[:, None] + np.arange(taps)
        weights = weight_at((indices - centres[:, None]) / stretch)
        weights[(indices < 0) | (indices >= source_length)] = 0.0
        self._weights = weights / weights.sum(axis=1, keepdims=True)
        self._source_length = source_length
        self.target_length = target_length

    @cached_property
    def _column_blocks(self) -> list[tuple[slice, slice, Doubles]]:
        """(results, samples they need, (samples, results) weights) of blocks that cover the axis."""
        length = self.target_length
        starts = range(0, length, _COLUMNS_AT_ONCE)
        parts = [slice(start, min(length, start + _COLUMNS_AT_ONCE)) for start in starts]
        return [(part, self.needs(part), np.ascontiguousarray(self.exact_matrix(part).T)) for part in parts]

    def needs(self, part: slice) -> slice:
        """The source samples that results ``part.start..part.stop`` are made of."""
        first = max(0, int(self._first[part.start]))
        last = min(self._source_length, int(self._first[part.stop - 1]) + self._weights.shape[1])
        return slice(first, last)

    def exact_matrix(self, part: slice) -> Doubles:
        """(results in ``part``, samples in ``needs(part)``) float64; rows sum to 1."""
        needed = self.needs(part)
        dense = np.zeros((part.stop - part.start, needed.stop - needed.start))
        places = self._first[part, None] + np.arange(self._weights.shape[1]) - needed.start
        rows, taps = np.nonzero((places >= 0) & (places < dense.shape[1]))
        dense[rows, places[rows, taps]] = self._weights[part][rows, taps]
        return dense

    def along_rows(self, samples: Samples, part: slice) -> Samples:
        """Rows ``part`` of the result from ``samples`` = source rows ``needs(part)``, (n, w, c), in their
        type."""
        flat = samples.reshape(samples.shape[0], -1)
        return (self.exact_matrix(part).astype(samples.dtype) @ flat).reshape(-1, *samples.shape[1:])

    def along_columns(self, samples: Samples) -> Samples:
        """All columns of the result from all source columns: (n, source, c) -> (n, target, c)."""
        # Channels first: each block is then one matrix product instead of one per row.
        rows, _, channels = samples.shape
        planes = np.ascontiguousarray(samples.transpose(2, 0, 1)).reshape(channels * rows, -1)
        result = np.empty((channels * rows, self.target_length), samples.dtype)
        for part, needed, weights in self._column_blocks:
            result[:, part] = planes[:, needed] @ weights.astype(samples.dtype)
        return np.ascontiguousarray(result.reshape(channels, rows, -1).transpose(1, 2, 0))


def _lanczos(x: Doubles) -> Doubles:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _bicubic(x: Doubles) -> Doubles:
    """Catmull-Rom (Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981)."""
    x = np.abs(x)
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


#: Radius in samples, and the weight at a distance.
_KERNELS: dict[Convolution, tuple[int, Callable[[Doubles], Doubles]]] = {
    "lanczos": (3, _lanczos),
    "bicubic": (2, _bicubic),
}
