"""What one process may spend on a reviewer that costs money."""

from __future__ import annotations

import threading
from functools import lru_cache

from imgpipe.settings import ReviewSettings


class Spending:
    """Images and dollars of all threads. A request is allowed where its highest price fits in."""

    def __init__(self, settings: ReviewSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._images = 0
        self.usd = 0.0

    def begin(self, highest_usd: float) -> str:
        """Set the highest price of one image's request aside; why it is not allowed, or the empty text."""
        most, budget = self._settings.max_images, self._settings.max_cost_usd
        with self._lock:
            if most is not None and self._images >= most:
                return f"review.max_images ({most}) is used up; the next run goes on"
            if budget is not None and self.usd + highest_usd > budget:
                return (
                    f"review.max_cost_usd ({budget:g}) is used up: {self.usd:.4f} spent or set aside, a "
                    f"request may cost {highest_usd:.4f}; the next run goes on"
                )
            self._images += 1
            self.usd += highest_usd
        return ""

    def end(self, highest_usd: float, cost_usd: float) -> None:
        """Book what a request really cost."""
        with self._lock:
            self.usd += cost_usd - highest_usd


@lru_cache(maxsize=16)
def spending_of(settings_json: str) -> Spending:
    """The same object for equal settings, as long as this process lives."""
    return Spending(ReviewSettings.model_validate_json(settings_json))
