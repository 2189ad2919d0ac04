"""A headless Chromium driven through its WebDriver server (W3C WebDriver over HTTP), without packages."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--force-prefers-reduced-motion",
)


def missing_parts() -> list[str]:
    """Which of the two programs are not installed."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """One session; every method raises RuntimeError with the driver's message where it fails."""

    def __init__(self, port: int, profile: Path, size: tuple[int, int]) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {
            "binary": shutil.which("chromium"),
            "args": [*_ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"],
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
            "timeouts": {"script": 20000, "pageLoad": 30000},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that the function body ``script`` returns."""
        return self._call(
            "POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)}
        )

    def click(self, css: str) -> None:
        """Press the mouse on the middle of the element, brought into sight first."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", css)
        self._call("POST", f"{self._session}/element/{self._find(css)}/click", {})

    def follow(self, css: str) -> None:
        """Click on a link that opens a window of its own, and go on there."""
        before = self._call("GET", f"{self._session}/window/handles")
        self.click(css)
        end = time.monotonic() + 10
        while not (new := set(self._call("GET", f"{self._session}/window/handles")) - set(before)):
            if time.monotonic() > end:
                raise RuntimeError(f"{css}: no window was opened")
            time.sleep(0.05)
        self._call("POST", f"{self._session}/window", {"handle": new.pop()})

    def type(self, css: str, text: str) -> None:
        self._call("POST", f"{self._session}/element/{self._find(css)}/value", {"text": text})

    def text(self, css: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", css))

    def wait(self, script: str, *arguments: Any, seconds: float = 10.0) -> Any:
        """Until the function body returns something true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise RuntimeError(f"after {seconds} s still not true: {script} {arguments}")
            time.sleep(0.03)
        return value

    def drag(self, css: str, start: float, end: float) -> None:
        """Press at a share of the element's width, move to another and release."""
        box = self.run(
            "const e = document.querySelector(arguments[0]);"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]",
            css,
        )
        y = round(box[1] + box[3] / 2)
        moves = [round(box[0] + box[2] * share) for share in (start, (start + end) / 2, end)]
        actions: list[dict[str, Any]] = [
            {"type": "pointerMove", "duration": 0, "x": moves[0], "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 40, "x": moves[1], "y": y},
            {"type": "pointerMove", "duration": 40, "x": moves[2], "y": y},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": actions}
        self._call("POST", f"{self._session}/actions", {"actions": [pointer]})

    def devtools(self, command: str, **parameters: Any) -> Any:
        body = {"cmd": command, "params": parameters}
        return self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        data = self._call("GET", f"{self._session}/screenshot")
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Every address that the page asked for since the last call, whether it was answered or not."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def console(self) -> list[str]:
        """What the page wrote to the console, errors of its security policy included."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [str(entry["message"]) for entry in entries]

    def close(self) -> None:
        self._call("DELETE", self._session)

    def _find(self, css: str) -> str:
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": css})
        return str(found[_ELEMENT])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as exc:
            raise RuntimeError(f"{method} {path}: {exc.read().decode(errors='replace')[:2000]}") from exc


@contextmanager
def open_browser(folder: Path, size: tuple[int, int] = (1440, 1000)) -> Iterator[Browser]:
    """A browser with a profile of its own in ``folder``; both processes end with the context."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        browser = Browser(_port_of(driver), folder / "profile", size)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        try:
            driver.wait(timeout=20)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait(timeout=20)


def _port_of(driver: subprocess.Popen[str]) -> int:
    assert driver.stdout is not None
    said = []
    for line in driver.stdout:
        said.append(line)
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found.group(1))
    raise RuntimeError(f"chromedriver did not start: {''.join(said)}")
