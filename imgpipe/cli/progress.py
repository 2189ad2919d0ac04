"""Progress where there is no terminal: a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from imgpipe.names import counted

#: Between two lines, seconds.
INTERVAL_SECONDS = 60.0


class MinuteLines:
    """Counts rows by asset, and says every minute how many are done and how long the others take.

    The time that passes until a row counts for its asset. ``say`` gets the lines; ``clock`` is in seconds.
    """

    def __init__(
        self,
        assets: Iterable[str],
        total: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._done = dict.fromkeys(assets, 0)
        self._seconds = dict.fromkeys(self._done, 0.0)
        self._total, self._say, self._clock = total, say, clock
        self._last_row = self._last_line = clock()

    def add(self, asset: str) -> None:
        """One row of ``asset`` is there."""
        now = self._clock()
        self._done[asset] += 1
        self._seconds[asset] += now - self._last_row
        self._last_row = now
        if now - self._last_line >= INTERVAL_SECONDS:
            self._last_line = now
            self._say(self.line())

    def line(self) -> str:
        """As in ``of 37 images: 37 raw_images, 20 matted_images, 0 upscaled_images; more than 3 min left``.

        The time left is more until every asset has a row, and unknown while it has no known part.
        """
        counts = ", ".join(f"{count} {asset}" for asset, count in self._done.items())
        left = sum(
            (self._total - count) * self._seconds[asset] / count
            for asset, count in self._done.items()
            if count
        )
        rest = f"about {in_words(left)} left"
        if not all(self._done.values()):
            rest = rest.replace("about", "more than") if left else "time left unknown"
        return f"of {counted(self._total, 'image')}: {counts}; {rest}"


def in_words(seconds: float) -> str:
    """As in ``50 s``, ``4 min``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
