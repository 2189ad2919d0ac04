"""Rows of a tall array that pass through memory: they come at the bottom and are let go at the top."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class RowWindow:
    """An array of ``shape`` of which rows ``start``..``stop`` are there, read by slices of rows."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.start = self.stop = 0
        self._blocks: list[npt.NDArray[Any]] = []

    def append(self, rows: npt.NDArray[Any]) -> None:
        """``rows`` follow those that came before; they are kept, not copied."""
        self._blocks.append(rows)
        self.stop += len(rows)

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Rows of the whole array; raises :class:`IndexError` where some are gone or have not come."""
        if not self.start <= rows.start < rows.stop <= self.stop:
            raise IndexError(f"expected rows within {self.start}..{self.stop}, got {rows.start}..{rows.stop}")
        parts, first = [], self.start
        for block in self._blocks:
            part = block[max(0, rows.start - first) : max(0, rows.stop - first)]
            if len(part):
                parts.append(part)
            first += len(block)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def drop(self, start: int) -> None:
        """Let go of what lies above row ``start``; the last quarter of a block is copied, not kept whole."""
        while self._blocks and start > self.start:
            block = self._blocks[0]
            gone = min(start - self.start, len(block))
            self.start += gone
            left = block[gone:]
            if not len(left):
                del self._blocks[0]
                continue
            base = block if block.base is None else block.base
            self._blocks[0] = left.copy() if 4 * left.nbytes < getattr(base, "nbytes", 0) else left
            return
