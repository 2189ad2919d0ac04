"""A client of a server that runs as a process of its own."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

_PATIENCE_SECONDS = 60.0


@dataclass
class Client:
    """``process``: the server, which must go on running; ``None``: this one."""

    url: str
    process: Any

    def send(self, path: str, data: bytes | None = None, **headers: str) -> bytes:
        """The body of the answer; raises HTTPError for statuses of errors. ``content_type`` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, named)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            body: bytes = answer.read()
            return body

    def json(self, path: str, body: Any = None) -> Any:
        if body is None:
            return json.loads(self.send(path))
        return json.loads(self.send(path, json.dumps(body).encode(), content_type="application/json"))

    def json_of(self, path: str, picture: bytes) -> Any:
        """The answer to a PNG file."""
        return json.loads(self.send(path, picture, content_type="image/png"))

    def wait_until_it_answers(self, path: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and self._exit_code() is None:
            try:
                self.send(path)
                return
            except urllib.error.URLError:
                time.sleep(0.1)
        raise AssertionError(f"no answer from {self.url}, exit code {self._exit_code()}")

    def _exit_code(self) -> Any:
        return None if self.process is None else self.process.poll()
