"""The worker: a process that decodes files, or evaluates ICC profiles, one after another within limits.

It is started by :mod:`imgpipe.images.isolation`. An exception that is not of imgpipe's error tree ends it,
with the trace on its stderr: its owner tells the caller and starts another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from imgpipe.errors import ImgpipeError, LimitExceeded
from imgpipe.images import icc_tables, lcms
from imgpipe.images.decode import decode
from imgpipe.images.header import describe
from imgpipe.images.isolation.channel import Answer, Buffer, Message, pack, read, receive, send, write
from imgpipe.images.isolation.confinement import confine
from imgpipe.settings import IsolationSettings, LimitSettings


def main(channel_descriptor: int, requests: int, answers: int, max_memory_bytes: int) -> None:
    """Answer requests until the owner closes its end; stdin is a pipe that the owner alone holds open.

    ``requests`` and ``answers`` are the descriptors of the two memory files.
    """
    _die_with_owner()
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    start_bytes = _address_space_bytes(statm)
    _limit(start_bytes + max_memory_bytes)
    missing = confine()
    icc_tables.use(IsolationSettings(mode="none"))  # This is the process that others would ask.
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
        return pack(_done(request, read(requests, 0, request["size"])))
    except ImgpipeError as exc:
        return pack(exc)
    except MemoryError:
        expected = f"expected a file that can be decoded within {max_memory_bytes:,} bytes of memory"
        advice = "raise isolation.max_memory_bytes or reduce the picture"
        return pack(LimitExceeded(f"{request['name']}: {expected}; {advice}"))


def _done(request: Message, data: bytes) -> Answer:
    match request["do"]:
        case "decode":
            return decode(data, name=request["name"], limits=LimitSettings(**request["limits"]))
        case "header":
            return describe(data, request["name"])
        case _:
            size = request["icc_bytes"]
            return lcms.linear_srgb(
                data[:size], np.frombuffer(data, np.float32, offset=size).reshape(request["shape"])
            )


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
