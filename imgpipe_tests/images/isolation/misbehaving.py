"""Imported into a decoding worker by tests: files of certain names make it misbehave."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.images.isolation import worker
from imgpipe.settings import LimitSettings

_LEAKED: list[bytes] = []


def _abort() -> None:
    os.write(2, b"a library's warning\nfree(): invalid \x1b[31mpointer\n")
    os.abort()


def _fail() -> None:
    raise ZeroDivisionError("nobody thought of that")


def _loop() -> None:
    while True:
        pass


def _noise() -> None:
    os.write(2, b"x" * 1_000_000)
    sys.stdout.write("on stdout\n")
    sys.stderr.write("on stderr\n")


_DEEDS: dict[str, Callable[[], object]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": _abort,
    "exit": lambda: os._exit(3),
    "exception": _fail,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(3600),
    "busy": _loop,
    "memory": lambda: bytearray(1 << 40),
    "noise": _noise,
    "leak": lambda: _LEAKED.append(bytes(140_000_000)),
    "slow": lambda: time.sleep(0.3),
}


def misbehave(data: bytes, *, name: str, limits: LimitSettings) -> Image:
    """The deed of that name, then, if there is a then, the picture."""
    _DEEDS.get(name, lambda: None)()
    return decode(data, name=name, limits=limits)


worker.decode = misbehave  # type: ignore[attr-defined]
