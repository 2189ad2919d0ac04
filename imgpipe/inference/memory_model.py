"""How much working memory a network takes for a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Working memory of a network: ``fixed_bytes`` + ``bytes_per_pixel`` for each pixel of the window.

    ``samples``: (pixels, bytes) of smaller windows, both growing, between which it is interpolated instead:
    a network that works in strips takes most for each pixel of a window that is not larger than a strip.
    """

    fixed_bytes: float
    bytes_per_pixel: float
    samples: tuple[tuple[float, float], ...] = ()

    @staticmethod
    def of_peaks(
        peak_bytes: Callable[[int, int], int], factor: float = 1.0, edges_px: Sequence[int] = (512, 1024)
    ) -> MemoryModel:
        """From the peaks of square windows, asked for as (width, height) px, times ``factor``.

        The last two give the line for all larger windows; where there are more, they become samples.
        """
        pixels = [edge**2 for edge in edges_px]
        peaks = list(accumulate((peak_bytes(edge, edge) for edge in edges_px), max))
        slope = (peaks[-1] - peaks[-2]) / (pixels[-1] - pixels[-2])
        fixed = max(0.0, peaks[-2] - slope * pixels[-2])
        samples = [(0.0, 0.0), *((size, peak * factor) for size, peak in zip(pixels, peaks, strict=True))]
        return MemoryModel(fixed * factor, slope * factor, tuple(samples) if len(peaks) > 2 else ())

    def needed_bytes(self, pixels: int) -> int:
        if self.samples and pixels < self.samples[-1][0]:
            sizes, needs = np.array(self.samples).T
            return int(np.interp(pixels, sizes, needs))
        return int(self.fixed_bytes + self.bytes_per_pixel * pixels)

    def fitting_pixels(self, budget_bytes: int) -> int:
        """Largest window that stays within ``budget_bytes``, px; 0 where none does."""
        if self.samples and budget_bytes < self.samples[-1][1]:
            sizes, needs = np.array(self.samples).T
            return max(0, int(np.interp(budget_bytes, needs, sizes)))
        return max(0, int((budget_bytes - self.fixed_bytes) / self.bytes_per_pixel))


#: Taken for networks whose tensors cannot be counted without running them; it is about what the
#: attention networks need, and too much only means smaller tiles.
ASSUMED_MEMORY = MemoryModel(fixed_bytes=256 * 2**20, bytes_per_pixel=24 * 1024)
