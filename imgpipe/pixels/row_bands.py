"""A float picture whose rows are computed when they are read, so that it is never whole in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

#: Bands that stay in memory, for readers that go through the picture a block after another.
_KEPT = 16


class RowBands:
    """(height, width[, channels]) float32, read by slices of rows, or of rows and columns, as of an array.

    ``compute``: rows -> their values, called for bands of ``band_rows`` rows; each is kept until
    others were read. Safe to read from several threads.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], band_rows: int, compute: Callable[[slice], Float]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self._band_rows = band_rows
        self._compute = compute
        self._bands: OrderedDict[int, Float] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Float:
        rows, *others = key if isinstance(key, tuple) else (key,)
        start, stop, _ = rows.indices(self.shape[0])
        numbers = range(start // self._band_rows, max(start, stop - 1) // self._band_rows + 1)
        parts = [self._band(number) for number in numbers]
        top = start - numbers.start * self._band_rows
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        part: Float = whole[(slice(top, top + stop - start), *others)]
        return part

    def map(self, change: Callable[[Float, slice], Float]) -> RowBands:
        """The same with ``change(values, rows)`` applied to each band."""

        def changed(rows: slice) -> Float:
            return change(self._compute(rows), rows)

        return RowBands(self.shape, self._band_rows, changed)

    def _band(self, number: int) -> Float:
        with self._lock:
            band: Any = self._bands.pop(number, None)
            if band is None:
                first = number * self._band_rows
                band = self._compute(slice(first, min(first + self._band_rows, self.shape[0])))
                while len(self._bands) >= _KEPT:
                    self._bands.popitem(last=False)
            self._bands[number] = band
            return np.asarray(band, np.float32)


#: What is read by slices of rows and columns; bytes where no value lies between two levels.
Rows = Float | npt.NDArray[np.uint8] | RowBands
