"""Ctrl-C, SIGTERM, the SIGHUP of a closed terminal: the first ends a command in order, the next at once.

A reader of the output that has gone (``| head``) ends it in order too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Exit codes of interrupted commands: 128 and the signal's number, as shells count.
INTERRUPTED = tuple(128 + number for number in (*_SIGNALS, signal.SIGPIPE))
_reader_gone = threading.Event()
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(BaseException):
    """A signal asked this process to end; raised once, in the main thread."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within, the first signal is said in one line and raises :class:`Interrupted`; another one ends the
    process without any further step. A signal that the caller had ignored (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, _: FrameType | None) -> None:
        if number == signal.SIGPIPE and not _reader_gone.is_set():
            return  # A socket's or a worker's pipe: whoever writes there gets the error.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for each in caught:
            signal.signal(each, _at_once)
        if number == signal.SIGHUP:
            _leave_the_terminal()
        # Neither print nor rich: the signal may have come while one of them writes.
        _say(
            f"interrupted by {signal.Signals(number).name}: stopping in order within seconds, what is done "
            "stays done; the same again ends at once\n"
        )
        raise Interrupted(number)

    caught = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    _reader_gone.clear()
    before = {number: signal.signal(number, first) for number in (*caught, signal.SIGPIPE)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_without_reader() -> None:
    """From any thread: nobody reads the output any more, so the command ends, as by SIGPIPE."""
    _reader_gone.set()
    os.kill(os.getpid(), signal.SIGPIPE)


def _at_once(number: int, _: FrameType | None) -> None:
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        _say(_SHOW_CURSOR)
    os._exit(128 + number)


def _leave_the_terminal() -> None:
    """It is gone: what is still printed must not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):  # isatty() says no once it is gone
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # The terminal may be gone.
        os.write(2, text.encode())
