"""How much working memory a network takes for a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Working memory of a network: ``fixed_bytes`` + ``bytes_per_pixel`` for each pixel of the window."""

    fixed_bytes: float
    bytes_per_pixel: float

    @staticmethod
    def of_peaks(peak_bytes: Callable[[int, int], int], factor: float = 1.0) -> MemoryModel:
        """From the peak at two sizes, asked for as (width, height) px, times ``factor``."""
        small, large = 512, 1024
        peaks = [peak_bytes(edge, edge) for edge in (small, large)]
        slope = (peaks[1] - peaks[0]) / (large**2 - small**2)
        fixed = max(0.0, peaks[0] - slope * small**2)
        return MemoryModel(fixed * factor, slope * factor)

    def needed_bytes(self, pixels: int) -> int:
        return int(self.fixed_bytes + self.bytes_per_pixel * pixels)

    def fitting_pixels(self, budget_bytes: int) -> int:
        """Largest window that stays within ``budget_bytes``, px; 0 where none does."""
        return max(0, int((budget_bytes - self.fixed_bytes) / self.bytes_per_pixel))


#: Taken for networks whose tensors cannot be counted without running them; it is about what the
#: attention networks need, and too much only means smaller tiles.
ASSUMED_MEMORY = MemoryModel(fixed_bytes=256 * 2**20, bytes_per_pixel=24 * 1024)
