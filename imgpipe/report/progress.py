"""How far the making of pictures has come, in a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

_INTERVAL_SECONDS = 60.0


class Progress:
    """Counts the parts of one task, and says every minute how many are done and how long the others take.

    ``what``: the parts' name, as in ``thumbnails``. ``say`` gets the lines; ``clock`` is in seconds.
    """

    def __init__(
        self, what: str, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._total, self._say, self._clock = what, total, say, clock
        self._done = 0
        self._start = self._last_line = clock()

    def __call__(self) -> None:
        """One part is done."""
        self._done += 1
        now = self._clock()
        if now - self._last_line >= _INTERVAL_SECONDS:
            self._last_line = now
            left = (now - self._start) / self._done * (self._total - self._done) / 60
            done = f"{self._done:,} of {self._total:,} {self._what}"
            self._say(f"report: {done}, about {left:.0f} min left for them")
