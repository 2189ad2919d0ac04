"""A server on loopback that speaks the Messages API, for tests of the reviewer that asks it."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from imgpipe_tests.http_server import served

#: What the tests set as the key; no output may hold it.
KEY = "sk-ant-test-0123456789"


@dataclass(frozen=True)
class Reply:
    """``body``: an object, sent as JSON, or text as it is. ``reset``: the connection is cut instead."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reset: bool = False


def message(text: str, stop_reason: str = "end_turn", tokens: tuple[int, int] = (3000, 200)) -> Reply:
    """An answer of the model."""
    return Reply(
        body={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
        }
    )


def verdict(verdict: str = "pass", issues: list[dict[str, Any]] | None = None, **more: Any) -> Reply:
    """A well-formed answer."""
    return message(json.dumps({"verdict": verdict, "issues": issues or [], "reason": "as drawn", **more}))


def failure(status: int, kind: str, text: str = "no", **headers: str) -> Reply:
    """An error as the API words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"type": "error", "error": {"type": kind, "message": text}}, named)


@dataclass
class MessagesApi:
    """``answer``: reply to a request, by its number from 0 on. ``requests``: their bodies; ``most``: how many
    were under way at once."""

    url: str
    answer: Callable[[int], Reply] = lambda number: verdict()
    requests: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def replies(self, *replies: Reply) -> None:
        """These, one after the other; the last one for all further requests."""
        begin = len(self.requests)
        self.answer = lambda number: replies[min(number - begin, len(replies) - 1)]

    def handle(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self._now += 1
            self.most = max(self.most, self._now)
        reply = self.answer(number)
        time.sleep(reply.seconds)
        with self._lock:
            self._now -= 1
        return reply


@contextmanager
def messages_api() -> Iterator[MessagesApi]:
    """The server, until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/messages"
            assert KEY in f"{self.headers['authorization']} {self.headers['x-api-key']}"
            reply = api.handle(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            if reply.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            data = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with served(Handler) as address:
        api = MessagesApi(address)
        yield api
