"""Pulling from a real HTTP server on loopback: whole, cut, resumed, refused, wrong."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, ModelError, WeightsCorrupt, WeightsMissing
from imgpipe.inference import download
from imgpipe.inference.download import pull, verify
from imgpipe.inference.weights import REGISTRY, Weights
from imgpipe_tests.http_server import served

pytestmark = pytest.mark.server

CONTENT = bytes((i * i) % 251 for i in range(700_001))


@dataclass
class Behaviour:
    """What the server does; ``seen`` lists (path, Range header, status) of every request."""

    content: bytes = CONTENT
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # one connection each: body bytes until it breaks
    statuses: list[int] = field(default_factory=list)  # answers given before the file itself
    wrong_range_start: bool = False
    chunked: bool = False
    seen: list[tuple[str, str | None, int]] = field(default_factory=list)
    gate: threading.Event | None = None


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        b = self.behaviour
        wanted = self.headers.get("Range")
        if self.path.startswith("/moved"):
            b.seen.append((self.path, wanted, 302))
            self.send_response(302)
            self.send_header("Location", "/weights.onnx")
            self.end_headers()
            return
        if b.statuses:
            status = b.statuses.pop(0)
            b.seen.append((self.path, wanted, status))
            self.send_error(status)
            return
        start = 0
        if b.ranges and wanted:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self._send(b, wanted, start)

    def _send(self, b: Behaviour, wanted: str | None, start: int) -> None:
        status = 206 if start else 200
        b.seen.append((self.path, wanted, status))
        if b.gate:
            b.gate.wait(10)
        body = b.content[start:]
        self.send_response(status)
        if b.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        if start:
            said = start + 1 if b.wrong_range_start else start
            self.send_header("Content-Range", f"bytes {said}-{len(b.content) - 1}/{len(b.content)}")
        self.end_headers()
        cut = b.cut_after.pop(0) if b.cut_after else len(body)
        piece = body[:cut]
        if b.chunked:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n0\r\n\r\n")
        else:
            self.wfile.write(piece)
        self.close_connection = True


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def server(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the server; no proxy and no waiting between attempts."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "RETRY_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    handler = type("Handler", (_Handler,), {"behaviour": behaviour, "protocol_version": "HTTP/1.1"})
    with served(handler) as address:
        yield address


@pytest.fixture
def entry(server: str) -> Weights:
    return replace(
        REGISTRY["isnet-anime"],
        url=f"{server}/weights.onnx",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download(entry: Weights, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    folder = tmp_path / "made" / "for it"
    path = pull(entry, folder, on_progress=lambda done, total: steps.append((done, total)))
    assert path == folder / entry.filename
    assert path.read_bytes() == CONTENT
    assert names_in(folder) == [entry.filename]
    assert steps[0] == (0, len(CONTENT))
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_what_is_there_is_not_fetched_again(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    (tmp_path / entry.filename).write_bytes(CONTENT)
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    assert behaviour.seen == []
    assert names_in(tmp_path) == [entry.filename]


def test_a_wrong_file_in_place_is_not_overwritten(
    entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / entry.filename).write_bytes(b"mine")
    with pytest.raises(WeightsCorrupt, match="delete the file and run"):
        pull(entry, tmp_path)
    assert (tmp_path / entry.filename).read_bytes() == b"mine"
    assert behaviour.seen == []


def test_a_cut_connection_is_resumed(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.cut_after = [300_000, 100_000]
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    assert behaviour.seen == [
        ("/weights.onnx", None, 200),
        ("/weights.onnx", "bytes=300000-", 206),
        ("/weights.onnx", "bytes=400000-", 206),
    ]


def test_a_later_call_resumes(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(WeightsMissing, match="closed early") as caught:
        pull(entry, tmp_path)
    assert "imgpipe models verify" in str(caught.value)
    assert (tmp_path / f"{entry.filename}.part").stat().st_size == 100_000
    assert not (tmp_path / entry.filename).exists()
    behaviour.seen.clear()
    steps: list[int] = []
    assert pull(entry, tmp_path, on_progress=lambda done, _: steps.append(done)).read_bytes() == CONTENT
    assert behaviour.seen == [("/weights.onnx", "bytes=100000-", 206)]
    assert steps[0] == 100_000
    assert names_in(tmp_path) == [entry.filename]


def test_a_server_without_ranges_starts_again(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.ranges = False
    behaviour.cut_after = [300_000]
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    assert [status for _, _, status in behaviour.seen] == [200, 200]


def test_a_range_that_starts_elsewhere_is_not_glued_on(
    entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.cut_after = [300_000]
    behaviour.wrong_range_start = True
    with pytest.raises(WeightsCorrupt):
        pull(entry, tmp_path)
    assert not (tmp_path / entry.filename).exists()


def test_an_impossible_range_starts_again(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.cut_after = [300_000, 0, 0, 0]
    with pytest.raises(WeightsMissing):
        pull(entry, tmp_path)
    behaviour.statuses = [416]
    behaviour.seen.clear()
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    assert [status for _, _, status in behaviour.seen] == [416, 200]


def test_a_part_of_another_version_is_deleted(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    (tmp_path / f"{entry.filename}.part").write_bytes(b"\0" * 300_000)
    with pytest.raises(WeightsCorrupt, match="try again"):
        pull(entry, tmp_path)
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted, _ in behaviour.seen] == ["bytes=300000-", None]


def test_wrong_bytes_are_deleted(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.content = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsCorrupt) as caught:
        pull(entry, tmp_path)
    assert entry.sha256 in str(caught.value)
    assert hashlib.sha256(behaviour.content).hexdigest() in str(caught.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("content", [b"<html>please log in</html>", CONTENT + b"more"])
def test_a_file_of_another_size_is_refused_before_anything_is_lost(
    content: bytes, entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.cut_after = [300_000, 0, 0, 0]
    with pytest.raises(WeightsMissing):
        pull(entry, tmp_path)
    behaviour.content = content
    with pytest.raises(WeightsCorrupt, match="proxy or a login page"):
        pull(entry, tmp_path)
    assert (tmp_path / f"{entry.filename}.part").stat().st_size == 300_000


def test_more_bytes_than_registered_stop_the_download(
    entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.chunked = True
    behaviour.content = CONTENT * 3
    with pytest.raises(WeightsCorrupt, match="sends more"):
        pull(entry, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 410])
def test_refusals_are_final_and_say_what_to_do(
    status: int, entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.statuses = [status]
    with pytest.raises(WeightsMissing) as caught:
        pull(entry, tmp_path)
    message = str(caught.value)
    for part in (str(status), entry.url, str(tmp_path / entry.filename), "imgpipe models verify"):
        assert part in message, message
    assert len(behaviour.seen) == 1
    assert names_in(tmp_path) == []


def test_a_passing_fault_is_waited_for(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.statuses = [503, 429]
    assert pull(entry, tmp_path).read_bytes() == CONTENT
    behaviour.statuses = [503] * 9
    (tmp_path / entry.filename).unlink()
    behaviour.seen.clear()
    with pytest.raises(WeightsMissing, match="503"):
        pull(entry, tmp_path)
    assert len(behaviour.seen) == 4


def test_redirects_and_a_mirror(entry: Weights, server: str, behaviour: Behaviour, tmp_path: Path) -> None:
    assert pull(entry, tmp_path, url=f"{server}/moved/x").read_bytes() == CONTENT
    assert [(path, status) for path, _, status in behaviour.seen] == [
        ("/moved/x", 302),
        ("/weights.onnx", 200),
    ]


def test_no_network(entry: Weights, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/weights.onnx"
    with pytest.raises(WeightsMissing) as caught:
        pull(entry, tmp_path, url=url)
    message = str(caught.value)
    for part in ("no connection", url, str(tmp_path / entry.filename), "imgpipe models verify"):
        assert part in message, message


def test_a_silent_server_times_out(
    entry: Weights, behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.1)
    behaviour.gate = threading.Event()
    try:
        with pytest.raises(WeightsMissing, match=r"no connection: .*timed out"):
            pull(entry, tmp_path)
    finally:
        behaviour.gate.set()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x", "", "weights.onnx"])
def test_only_http_addresses(url: str, entry: Weights, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="http"):
        pull(entry, tmp_path, url=url)


def test_two_pulls_fetch_once(entry: Weights, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.gate = threading.Event()
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(pull(entry, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    behaviour.gate.set()
    for thread in threads:
        thread.join(20)
    assert results == [tmp_path / entry.filename] * 2
    assert len(behaviour.seen) == 1
    assert names_in(tmp_path) == [entry.filename]


def test_a_waiting_pull_takes_over_after_a_failure(
    entry: Weights, behaviour: Behaviour, tmp_path: Path
) -> None:
    part = tmp_path / f"{entry.filename}.part"
    results: list[Path] = []
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: results.append(pull(entry, tmp_path)))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert behaviour.seen == []
        part.unlink()  # the other pull gave up
    thread.join(20)
    assert results == [tmp_path / entry.filename]
    assert names_in(tmp_path) == [entry.filename]


def test_a_folder_that_cannot_be(entry: Weights, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match="IMGPIPE_MODEL_DIR"):
        pull(entry, tmp_path / "file" / "models")


def test_verify_reports_every_registered_file(
    entry: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "REGISTRY", {**REGISTRY, "isnet-anime": entry})
    (tmp_path / entry.filename).write_bytes(CONTENT)
    (tmp_path / REGISTRY["u2net"].filename).write_bytes(b"short")
    states = {state.name: state for state in verify(tmp_path)}
    assert list(states) == list(REGISTRY)
    assert states["isnet-anime"].state == "ok"
    assert entry.sha256 in states["isnet-anime"].detail
    assert states["u2net"].state == "corrupt"
    assert "expected 175,997,641 bytes" in states["u2net"].detail
    assert states["isnet-general-use"].state == "missing"
    assert REGISTRY["isnet-general-use"].url in states["isnet-general-use"].detail


def test_verify_reads_every_byte(entry: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remembered digest does not hide a file whose bytes went bad."""

    monkeypatch.setattr(download, "REGISTRY", {"isnet-anime": entry})
    path = pull(entry, tmp_path)
    before = path.stat()
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [state.state for state in verify(tmp_path)] == ["corrupt"]


def test_a_file_whose_md5_is_registered_must_have_it(entry: Weights, tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match=rf"md5 {'0' * 32}, got sha256 {entry.sha256}, md5 "):
        pull(replace(entry, md5="0" * 32), tmp_path)
    assert names_in(tmp_path) == []
    right = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    assert pull(replace(entry, md5=right), tmp_path).read_bytes() == CONTENT
