"""A request to stop, for the whole process: made by a signal, heard by whatever computes or waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: How long images in flight may take to finish after a request to stop, seconds.
GRACE_SECONDS = 5.0


class Stopped(KeyboardInterrupt):
    """Work ended on request. As Python's own interrupt, so that Dagster records no failure of a step."""


class StopRequest:
    """Made once, by any thread; everything that listens ends with :class:`Stopped`."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    def request(self) -> None:
        """Ask all listeners to stop, those to come included."""
        self._requested.set()
        for listener in tuple(self._listeners):
            listener()

    def clear(self) -> None:
        """Forget an earlier request."""
        self._requested.clear()

    def check(self) -> None:
        """Raise :class:`Stopped` where a stop was requested."""
        self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        """Wait; raises :class:`Stopped` as soon as a stop is requested."""
        if self._requested.wait(seconds):
            raise Stopped("a stop was requested")

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` in the requesting thread when a stop is requested, or at once where it was."""
        self._listeners.append(listener)
        try:
            if self._requested.is_set():
                listener()
            yield
        finally:
            self._listeners.remove(listener)


#: The one of this process.
STOP = StopRequest()
