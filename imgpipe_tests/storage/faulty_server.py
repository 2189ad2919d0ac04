"""An HTTP server on loopback that passes requests on to another one and spoils chosen answers."""

from __future__ import annotations

import base64
import math
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import urllib3

from imgpipe_tests.http_server import served


@dataclass
class Answer:
    """An answer under way; a fault changes it. ``sent``: how much of the body goes out, None: all of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: int | None = None
    stall: bool = False
    reset: bool = False


Fault = Callable[[Answer], None]


def cut(answer: Answer) -> None:
    """The connection closes in the middle of the body."""
    answer.sent = len(answer.body) // 2


def reset(answer: Answer) -> None:
    """The connection is reset in the middle of the body."""
    answer.sent, answer.reset = len(answer.body) // 2, True


def late(answer: Answer) -> None:
    """A tenth of a second later."""
    time.sleep(0.1)


def stall(answer: Answer) -> None:
    """Half of the body comes, then nothing, and the connection stays open."""
    answer.sent, answer.stall = len(answer.body) // 2, True


def silence(answer: Answer) -> None:
    """Not even the status line comes, and the connection stays open."""
    answer.status, answer.stall = 0, True


def flip(answer: Answer) -> None:
    """One byte is another one, the headers stay; a CRC32 was stored with the object."""
    stored_checksum(answer, "crc32", zlib.crc32(answer.body).to_bytes(4, "big"))
    flip_byte(answer)


def stored_checksum(answer: Answer, algorithm: str, digest: bytes) -> None:
    """The header of a checksum that was stored with the object."""
    answer.headers[f"x-amz-checksum-{algorithm}"] = base64.b64encode(digest).decode()


def flip_byte(answer: Answer) -> None:
    """One byte is another one, the headers stay."""
    spoilt = bytearray(answer.body)
    spoilt[len(spoilt) // 2] ^= 1
    answer.body = bytes(spoilt)


def reverse(answer: Answer) -> None:
    """A listing in the opposite order."""
    entry = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
    entries = entry.findall(answer.body)
    answer.body = entry.sub(lambda _: entries.pop(), answer.body)


def page(
    status: int, text: str = "<html><body><h1>Sign in<br></h1></html>", kind: str = "text/html"
) -> Fault:
    """Something that is not S3's, in place of the answer."""

    def fault(answer: Answer) -> None:
        answer.status, answer.body = status, text.encode()
        answer.headers = {"Content-Type": kind, "Date": answer.headers.get("Date", "")}

    return fault


def error(status: int, code: str, more: str = "", date: str = "") -> Fault:
    """An error as S3 reports it. ``date``: the server's clock."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>as said</Message>{more}</Error>'

    def fault(answer: Answer) -> None:
        page(status, text, "application/xml")(answer)
        if date:
            answer.headers["Date"] = date

    return fault


def bare(status: int, **headers: str) -> Fault:
    """A status without a body."""

    def fault(answer: Answer) -> None:
        answer.status, answer.headers, answer.body = status, headers, b""

    return fault


#: (name, fault, whether the request is not passed on, whether it spoils the bodies of objects alone).
STORM: tuple[tuple[str, Fault, bool, bool], ...] = (
    ("latency", late, False, False),
    ("503", error(503, "SlowDown"), True, False),
    ("429", error(429, "TooManyRequests"), True, False),
    ("412", error(412, "PreconditionFailed"), True, False),
    ("answer lost", error(503, "InternalError"), False, False),
    ("reset", reset, False, True),
    ("short body", cut, False, True),
    ("wrong bytes", flip, False, True),
)


@dataclass
class FaultyServer:
    """``url``: its address; ``seen``: (method, path with query) of every request, ``headers``: its headers.

    Request headers in ``dropped`` are not passed on.
    """

    url: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    dropped: set[str] = field(default_factory=lambda: {"expect"})
    _faults: list[tuple[str, str, Fault, list[float]]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    _storm: tuple[random.Random, float] | None = None
    _drawing: threading.Lock = field(default_factory=threading.Lock)
    _refusals: list[tuple[str, str, Fault, list[float]]] = field(default_factory=list)

    def spoil(self, method: str, text: str, fault: Fault, times: float = math.inf) -> None:
        """Answers to ``method`` requests with ``text`` in their address get the fault, so many times."""
        self._faults.append((method, text, fault, [times]))

    def refuse(self, method: str, text: str, fault: Fault, times: float = math.inf) -> None:
        """The same for requests that are answered without being passed on; the fault makes the answer."""
        self._refusals.append((method, text, fault, [times]))

    def count(self, method: str, text: str) -> int:
        """How many such requests came."""
        return sum(method == one and text in path for one, path in self.seen)

    def storm(self, seed: int, share: float) -> None:
        """From now on each request meets each of :data:`STORM` with this probability."""
        self._storm = (random.Random(seed), share)

    def calm(self) -> None:
        """End it."""
        self._storm = None

    def apply(self, method: str, path: str, answer: Answer) -> None:
        _apply(self._faults, method, path, answer)

    def refusal(self, method: str, path: str) -> Answer | None:
        """The answer to a request that is not passed on."""
        answer = Answer(0, {}, b"")
        return answer if _apply(self._refusals, method, path, answer) else None

    def drawn(self, method: str, path: str) -> tuple[Fault | None, bool]:
        """The storm's fault for this request, and whether it is answered without being passed on."""
        with self._drawing:
            if self._storm is None:
                return None, False
            generator, share = self._storm
            number = int(generator.random() / share)
            if number >= len(STORM):
                return None, False
            name, fault, before, bodies = STORM[number]
            # Listings have no checksum: on a real network TLS stands before wrong bytes.
            if bodies and (method != "GET" or "list-type" in path):
                return None, False
            self.met[name] += 1
            return fault, before


def _apply(faults: list[tuple[str, str, Fault, list[float]]], method: str, path: str, answer: Answer) -> bool:
    chosen = [one for one in faults if method == one[0] and one[1] in path and one[3][0] > 0]
    for _, _, fault, left in chosen:
        left[0] -= 1
        fault(answer)
    return bool(chosen)


@contextmanager
def faulty_server(upstream: str) -> Iterator[FaultyServer]:
    """A server before the one at ``upstream``."""
    pool = urllib3.PoolManager(retries=False)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.seen.append((self.command, self.path))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            refusal = server.refusal(self.command, self.path)
            fault, before = server.drawn(self.command, self.path)
            if fault is not None and before:
                refusal = Answer(0, {}, b"")
                fault(refusal)
            if refusal is not None:
                self._send(refusal, "0")
                return
            sent = {name: value for name, value in self.headers.items() if name.lower() not in server.dropped}
            got = pool.request(
                self.command, upstream + self.path, body=body, headers=sent, decode_content=False
            )
            headers = {
                name: value
                for name, value in got.headers.items()
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "server")
            }
            length = got.headers.get("Content-Length", "0")
            answer = Answer(got.status, headers, got.data)
            server.apply(self.command, self.path, answer)
            if fault is not None and answer.status < 300:
                fault(answer)
            self._send(answer, length)

        def _send(self, answer: Answer, length: str) -> None:
            if answer.status:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header(
                    "Content-Length", length if self.command == "HEAD" else str(len(answer.body))
                )
                self.end_headers()
                self.wfile.write(answer.body[: answer.sent] if self.command != "HEAD" else b"")
                self.wfile.flush()
            if answer.stall:
                over.wait(30)
            if answer.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = answer.sent is not None or answer.stall

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler._pass_on)

    with served(Handler) as address:
        server = FaultyServer(address)
        try:
            yield server
        finally:
            over.set()
