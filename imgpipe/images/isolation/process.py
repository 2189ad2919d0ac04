"""The owner's side of one worker: start, requests, timeout, and how it ended."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from imgpipe.errors import ConfigError, ImgpipeError
from imgpipe.images.isolation.channel import (
    INVALID_MESSAGE,
    Answer,
    Buffer,
    Message,
    receive,
    send,
    unpack,
    write,
)
from imgpipe.settings import IsolationSettings

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer", bound=Answer)

#: A new interpreter imports numpy, OpenCV and Pillow: a third of a second, more on a loaded machine.
_START_SECONDS = 120.0
_STDERR_BYTES = 4096
_MESSAGE_CHARACTERS = 300
#: Memory files keep what a 4096 x 4096 RGBA picture and its metadata take; more is given back at once.
_KEPT_BYTES = 83_886_080
_TAKE_IT_OUT = "take the file out of the source or convert it with another program"
_WORKER_CODE = (
    "import sys; sys.path[:] = sys.argv[5:]; from imgpipe.images.worker import main; "
    "main(*map(int, sys.argv[1:5]))"
)
#: Of the owner's environment a worker gets these alone: no credentials, no addresses.
_PASSED_ON = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONUTF8")
_WORKER_ENVIRONMENT = {
    # Pictures are decoded in parallel; threads within one would only take address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    # glibc keeps the pages of the last picture for the next one: fresh ones cost a tenth of the time.
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}


class WorkerLost(Exception):
    """A worker crashed, was killed or ran out of time. The caller adds the file's name to the message."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}; {advice}")
        self.what = what


class WorkerProcess:
    """One process, its channel, the pipe whose closing ends it, and the end of its stderr."""

    _numbers = itertools.count(1)

    def __init__(self, settings: IsolationSettings) -> None:
        self._settings = settings
        self._stderr = b""
        self._descriptors = contextlib.ExitStack()
        try:
            with contextlib.ExitStack() as theirs:
                self._process = self._start(theirs)
        except OSError as exc:
            self._descriptors.close()
            raise ConfigError(
                f"isolation: a decoding process cannot be started ({exc}); lower `workers`, raise the limit "
                "on processes or open files, or set isolation.mode=none"
            ) from exc
        self._await_ready()

    def _start(self, theirs: contextlib.ExitStack) -> subprocess.Popen[bytes]:
        self._channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.enter_context(channel)
        self._descriptors.enter_context(self._channel)
        self._requests, self._answers = self._memory("requests"), self._memory("answers")
        given = [channel.fileno(), self._requests, self._answers]
        numbers = [str(number) for number in (*given, self._settings.max_memory_bytes)]
        # OpenCV puts its own folder in front, with a `typing` in it, while another thread imports it.
        path = [folder for folder in sys.path if Path(folder).name != "cv2"]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _WORKER_CODE, *numbers, *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=given,
            start_new_session=True,  # Ctrl-C is the owner's to handle; and no terminal to write to
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _WORKER_ENVIRONMENT,
        )
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._descriptors.enter_context(pipe)
        return process

    def _memory(self, name: str) -> int:
        descriptor = os.memfd_create(f"imgpipe-{name}", os.MFD_CLOEXEC)
        self._descriptors.callback(os.close, descriptor)
        return descriptor

    def _await_ready(self) -> None:
        try:
            message = self._receive(time.monotonic() + _START_SECONDS, _START_SECONDS)
            if "ready" not in message:
                raise WorkerLost(f"the decoder said {message} in place of being ready", "")
            #: What the kernel cannot refuse it, in words.
            self.missing = tuple(str(what) for what in message["missing"])
            if self.missing:
                _warn_once(self.missing)
        except WorkerLost as exc:
            self.stop()
            raise ConfigError(
                f"isolation: a decoding process did not start ({exc.what}); `imgpipe doctor` shows what is "
                "installed, isolation.mode=none does without processes"
            ) from exc
        except BaseException:
            self.stop()
            raise

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, expected: type[_Answer], bulk: Iterable[Buffer], request: Message
    ) -> tuple[_Answer | ImgpipeError, bool]:
        """The answer or the error, and whether the worker can go on; raises :class:`WorkerLost`."""
        self._drain_stderr()
        self._stderr = b""
        ticket = next(self._numbers)
        try:
            size = write(self._requests, bulk)
            send(self._channel, {**request, "id": ticket, "size": size})
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise self._lost() from exc
        except OSError as exc:
            raise WorkerLost(f"the decoder cannot be given the file ({exc})", "lower `workers`") from exc
        seconds = self._settings.timeout_seconds
        answer = self._receive(time.monotonic() + seconds, seconds)
        try:
            if answer["id"] != ticket:
                raise ValueError(f"expected the answer to {ticket}, got the one to {answer['id']}")
            outcome = unpack(answer, self._answers)
            if not isinstance(outcome, expected | ImgpipeError):
                raise TypeError(f"expected {expected.__name__}, got {type(outcome).__name__}")
            return outcome, not answer["retire"]
        except INVALID_MESSAGE as exc:
            raise WorkerLost(f"the decoder's answer makes no sense ({exc})", _TAKE_IT_OUT) from exc
        finally:
            self._give_back_memory()

    def _give_back_memory(self) -> None:
        for memory in (self._requests, self._answers):
            if os.fstat(memory).st_size > _KEPT_BYTES:
                os.ftruncate(memory, 0)

    def _receive(self, deadline: float, seconds: float) -> Message:
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        stderr = self._process.stderr
        if stderr is not None:
            poller.register(stderr, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = {descriptor for descriptor, _ in poller.poll(left * 1000)}
            if stderr is not None and stderr.fileno() in ready and not self._drain_stderr():
                poller.unregister(stderr)
            if self._channel.fileno() in ready:
                try:
                    received = receive(self._channel)
                except INVALID_MESSAGE as exc:
                    raise WorkerLost(f"the decoder's answer makes no sense ({exc})", _TAKE_IT_OUT) from exc
                if received is None:
                    raise self._lost()
                return received
        raise WorkerLost(
            f"decoding took longer than {seconds:g} s and was stopped",
            "take the file out of the source, or raise isolation.timeout_seconds if it is meant",
        )

    def _drain_stderr(self) -> bool:
        """Keep the end of the worker's stderr; returns whether there may be more later."""
        if self._process.stderr is None:
            return False
        try:
            said = os.read(self._process.stderr.fileno(), 65_536)
        except BlockingIOError:
            return True
        self._stderr = (self._stderr + said)[-_STDERR_BYTES:]
        return bool(said)

    def _lost(self) -> WorkerLost:
        """The error that says how the process ended."""
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return WorkerLost("the decoder stopped answering", _TAKE_IT_OUT)
        self._drain_stderr()
        last = self._last_stderr_line()
        said = f", last saying {last!r}" if last else ""
        if code == -signal.SIGKILL:
            return WorkerLost(
                f"the decoder was killed by SIGKILL{said}, as the system does when memory runs out",
                "lower `workers`, or take the file out of the source",
            )
        how = f"crashed with {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return WorkerLost(
            f"the decoder {how}{said}",
            f"{_TAKE_IT_OUT} (if it is sound and large, raise isolation.max_memory_bytes from "
            f"{self._settings.max_memory_bytes:,})",
        )

    def _last_stderr_line(self) -> str:
        lines = [line.strip() for line in self._stderr.decode("utf-8", "replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return "".join(c if c.isprintable() else "?" for c in last)[:_MESSAGE_CHARACTERS]

    def stop(self) -> None:
        """Kill the process; it holds no state between files."""
        self._process.kill()
        self._process.wait()
        self._descriptors.close()


@functools.cache
def _warn_once(missing: tuple[str, ...]) -> None:
    log.warning("decoding workers are limited but not confined: %s; see docs/security.md", "; ".join(missing))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
