"""Iterates over the sources in key order, in windows, from any position on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from imgpipe.records import SourceObject
from imgpipe.storage.store import ImageStore, LeftOut

#: Sources in one window at most.
WINDOW = 50_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk continues: ``part`` (number of a prefix or file), key ``after``, ``row`` of a file."""

    part: int = 0
    after: str | None = None
    row: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """All sources with ``low`` < key <= ``high`` below ``prefix``; ``next`` is None at the end of the walk.

    ``complete``: a sealed source that is not among them was deleted.
    """

    listed: Sequence[SourceObject]
    low: str | None
    high: str | None
    prefix: str
    complete: bool
    next: Position | None

    def covers(self, key: str) -> bool:
        """Whether a source with this key would have been listed here."""
        above = self.low is None or key > self.low
        return above and (self.high is None or key <= self.high) and key.startswith(self.prefix)


class Walk(Protocol):
    """Iterates over every source; what is not taken for one is counted in ``left_out``."""

    left_out: LeftOut

    @property
    def identity(self) -> str:
        """What is walked over. A position is valid only for walks with the same identity."""

    @property
    def changes_by_itself(self) -> bool:
        """Whether a second walk with the same identity may list other sources."""

    def windows(self, start: Position, budget: float) -> Iterator[Window]:
        """From ``start`` on, at most about ``budget`` sources (``math.inf``: all)."""


class StoreWalk:
    """Lists the store below each prefix (``""``: all of it); pages are fetched as they are used."""

    changes_by_itself = True

    def __init__(self, source: ImageStore, prefixes: Sequence[str]) -> None:
        self.left_out = LeftOut()
        self._source = source
        self._prefixes = tuple(prefixes)

    @property
    def identity(self) -> str:
        return "|".join((self._source.url, *self._prefixes))

    def windows(self, start: Position, budget: float) -> Iterator[Window]:
        for part in range(start.part, len(self._prefixes)):
            prefix = self._prefixes[part]
            after = start.after if part == start.part else None
            listing = self._source.list(prefix, start_after=after, left_out=self.left_out)
            low = after if after is not None else _before(prefix)
            more = True
            while more:
                if budget <= 0:
                    return
                size = int(min(WINDOW, budget))
                listed = list(islice(listing, size))
                budget -= max(len(listed), 1)
                more = len(listed) == size
                high = listed[-1].key if more else _behind(prefix)
                yield Window(listed, low, high, prefix, True, self._next(part, high if more else None))
                low = high

    def _next(self, part: int, high: str | None) -> Position | None:
        if high is not None:
            return Position(part, high)
        return Position(part + 1) if part + 1 < len(self._prefixes) else None


def _before(prefix: str) -> str | None:
    """A text that sorts before every key with this prefix."""
    return prefix[:-1] if prefix else None


def _behind(prefix: str) -> str | None:
    """A text that sorts after every key with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else None
