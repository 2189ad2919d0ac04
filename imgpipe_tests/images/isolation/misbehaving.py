"""Imported into a decoding worker by tests: files of certain names make it misbehave."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from imgpipe.errors import DecodeError
from imgpipe.images import worker
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
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


def _outcome(deed: Callable[[], object]) -> str:
    try:
        return f"done: {deed()!r}"
    except Exception as exc:
        return type(exc).__name__


def _try_everything(data: bytes) -> None:
    """What somebody would try who runs code in the worker; the outcomes travel in an error's text."""
    folder, owner, port = data.decode().split("\n")
    known = Path(folder) / "known"
    library = ctypes.CDLL(None, use_errno=True)
    deeds: dict[str, Callable[[], object]] = {
        "environment": lambda: sorted(os.environ),
        "socket": lambda: socket.create_connection(("127.0.0.1", int(port)), timeout=5),
        "datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix socket": lambda: socket.socketpair(),
        "reading": known.read_bytes,
        "reading the system's": lambda: Path("/etc/passwd").read_bytes(),
        "reading the owner's environment": lambda: Path(f"/proc/{owner}/environ").read_bytes(),
        "listing": lambda: list(Path(folder).iterdir()),
        "writing": lambda: known.write_bytes(b"x"),
        "creating": lambda: (Path(folder) / "new").touch(),
        "appending": lambda: os.open(known, os.O_WRONLY | os.O_APPEND),
        "truncating": lambda: os.truncate(known, 0),
        "removing": known.unlink,
        "renaming": lambda: known.rename(Path(folder) / "other"),
        "linking": lambda: (Path(folder) / "link").symlink_to("known"),
        "permissions": lambda: known.chmod(0o777),
        "folder": lambda: (Path(folder) / "folder").mkdir(),
        "program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "child": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": os.fork,
        "signal to the owner": lambda: os.kill(int(owner), 0),
        "more memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "ptrace": lambda: library.ptrace(16, int(owner), None, None),
        "new call": lambda: (library.syscall(ctypes.c_long(463)), os.strerror(ctypes.get_errno())),
        "own memory": lambda: os.open("/proc/self/mem", os.O_RDONLY),
        "thread": lambda: threading.Thread(target=print).start(),
        "late import": lambda: importlib.import_module("wave").__name__,
    }
    raise DecodeError(json.dumps({name: _outcome(deed) for name, deed in deeds.items()}))


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
    if name == "everything":
        _try_everything(data)
    _DEEDS.get(name, lambda: None)()
    return decode(data, name=name, limits=limits)


worker.decode = misbehave  # type: ignore[attr-defined,assignment]
