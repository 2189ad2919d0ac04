"""The decoding worker: a process that decodes one file after another within limits.

It is started by :mod:`imgpipe.images.isolation` and calls only :func:`imgpipe.images.decode.decode`.
An exception that is not of imgpipe's error tree ends it, with the trace on its stderr: its owner tells the
caller and starts another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

from imgpipe.errors import ImgpipeError, LimitExceeded
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.images.isolation.channel import (
    Buffer,
    Message,
    pack_error,
    pack_image,
    read,
    receive,
    send,
    write,
)
from imgpipe.images.isolation.confinement import confine
from imgpipe.settings import LimitSettings


def main(channel_descriptor: int, requests: int, answers: int, max_memory_bytes: int) -> None:
    """Answer requests until the owner closes its end; stdin is a pipe that the owner alone holds open.

    ``requests`` and ``answers`` are the descriptors of the two memory files.
    """
    _die_with_owner()
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    start_bytes = _address_space_bytes(statm)
    _limit(start_bytes + max_memory_bytes)
    missing = confine()
    with socket.socket(fileno=channel_descriptor) as channel:
        send(channel, {"ready": os.getpid(), "missing": missing})
        while (request := receive(channel)) is not None:
            answer, bulk = _answer(request, requests, max_memory_bytes)
            write(answers, bulk)
            del bulk
            # Address space that a library keeps would be missing for the next file.
            retire = _address_space_bytes(statm) > start_bytes + max_memory_bytes // 2
            send(channel, {**answer, "id": request["id"], "retire": retire})


def _answer(request: Message, requests: int, max_memory_bytes: int) -> tuple[Message, Iterable[Buffer]]:
    try:
        return pack_image(_decode(request, requests, max_memory_bytes))
    except ImgpipeError as exc:
        return pack_error(exc)


def _decode(request: Message, requests: int, max_memory_bytes: int) -> Image:
    name = request["name"]
    try:
        data = read(requests, 0, request["size"])
        return decode(data, name=name, limits=LimitSettings(**request["limits"]))
    except MemoryError as exc:
        raise LimitExceeded(
            f"{name}: expected a file that can be decoded within {max_memory_bytes:,} bytes of memory; "
            "raise isolation.max_memory_bytes or reduce the picture"
        ) from exc


def _die_with_owner() -> None:
    """The kernel ends this process (SIGIO, default action) as soon as nobody holds stdin's other end.

    Not PR_SET_PDEATHSIG: that follows the *thread* that started the process. Nor a thread that watches: a
    decoder that keeps the interpreter's lock would stop it.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _limit(address_space_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # When the machine runs out of memory, the kernel kills this process and not its owner. Some
    # containers do not allow it to be set.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _address_space_bytes(statm: int) -> int:
    pages = int(os.pread(statm, 100, 0).split()[0])
    return pages * resource.getpagesize()
