"""``imgpipe serve`` as a process: killed, stopped, started again, and sent more than it takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer

from imgpipe.cli.serve import serve as serve_command
from imgpipe.config import load_settings
from imgpipe.errors import DeviceFault
from imgpipe.jobs.book import JobBook, open_book
from imgpipe.jobs.queue import JobQueue
from imgpipe.records import Status
from imgpipe.stages.upscale import UpscaleStage
from imgpipe_tests.end_to_end.webserver import free_port
from imgpipe_tests.jobs.client import Client
from imgpipe_tests.jobs.pictures import drawing

pytestmark = pytest.mark.server

AT_ONCE = 2


@contextmanager
def serve(folder: Path, *more: str) -> Iterator[Client]:
    """The server on ``folder/out``; killed at the end where it still runs."""
    command = [sys.executable, "-m", "imgpipe", "serve", "--output", str(folder / "out"), "--port", "0"]
    options = [f"jobs.at_once={AT_ONCE}", "upscale.model=lanczos", "quality.diff=false", *more]
    process = subprocess.Popen(
        [*command, *(part for option in options for part in ("--set", option))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("jobs on http://127.0.0.1:"), said
        yield Client(said.split()[2].rstrip(","), process)
    finally:
        process.kill()
        process.wait(30)


def book_of(folder: Path) -> JobBook:
    return open_book(load_settings({"output": str(folder / "out")}))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_the_middle_of_20_jobs_and_started_again(number: int, tmp_path: Path) -> None:
    data = drawing(1, 384, 384)
    with serve(tmp_path) as client:
        posted = [client.json_of("/jobs?config=%7B%22scale%22:2%7D", data) for _ in range(20)]
        ids = [answer["job_id"] for answer in posted]
        client.json(f"/jobs/{ids[3]}?wait=60")
        client.process.send_signal(number)
        assert client.process.wait(30) == (-number if number == signal.SIGKILL else 128 + number)
    book = book_of(tmp_path)
    left = [job.id for job in book.unfinished()]
    assert 3 <= len(left) <= 18, left
    with serve(tmp_path) as client:
        ends = [client.json(f"/jobs/{one}?wait=60") for one in ids]
    assert [end["status"] for end in ends] == ["ok"] * 20
    rows = [list(book.rows(book.find(one)).values()) for one in ids]
    assert {row.status for each in rows for row in each} == {Status.OK}
    twice = [one for one, each in zip(ids, rows, strict=True) if any(row.attempts > 1 for row in each)]
    assert len(twice) <= AT_ONCE
    assert set(twice) <= set(left)
    assert len(list((tmp_path / "out" / "upscaled").rglob("*.png"))) == 20
    assert book.unfinished() == []
    assert not list((tmp_path / "out").glob("tables/unfinished_*/*/*"))


def test_jobs_of_a_killed_server_are_taken_up_by_one_that_lives(tmp_path: Path) -> None:
    data = drawing(1, 384, 384)
    with serve(tmp_path) as living, serve(tmp_path) as killed:
        posted = [killed.json_of("/jobs?config=%7B%22scale%22:2%7D", data) for _ in range(12)]
        ids = [answer["job_id"] for answer in posted]
        killed.json(f"/jobs/{ids[1]}?wait=60")
        killed.process.kill()
        killed.process.wait(30)
        book = book_of(tmp_path)
        assert len(book.unfinished()) >= 3
        deadline = time.monotonic() + 120
        while book.unfinished() and time.monotonic() < deadline:
            time.sleep(0.1)
        ends = [living.json(f"/jobs/{one}") for one in ids]
        assert [end.get("status") for end in ends] == ["ok"] * 12
        living.process.send_signal(signal.SIGTERM)
        living.process.wait(30)
    assert not list((tmp_path / "out" / "leases").rglob("*.json"))


def test_sizes_are_refused_before_the_body_comes_and_while_it_comes(tmp_path: Path) -> None:
    head = b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    with serve(tmp_path, "limits.max_bytes=10000") as client:
        assert answer_to(client, head + b"Content-Length: 300000000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
        chunks = b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + bytes(0x1000) + b"\r\n") * 3
        assert answer_to(client, head + chunks).startswith(b"HTTP/1.1 413 ")  # no end was sent


def answer_to(client: Client, sent: bytes) -> bytes:
    """The begin of the answer to a request that may not be complete."""
    place = urlsplit(client.url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), 30) as connection:
        connection.sendall(sent)
        return connection.recv(1000)


def test_after_a_device_fault_the_server_answers_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job keeps its place for the next server; whoever waits for it hears that."""
    asked, has = threading.Event(), JobQueue.has

    def faulty(*_: object) -> None:
        assert asked.wait(30)
        raise DeviceFault("an illegal memory access")

    def asked_about(queue: JobQueue, job_id: str) -> bool:
        asked.set()
        return has(queue, job_id)

    monkeypatch.setattr(UpscaleStage, "run", faulty)
    monkeypatch.setattr(JobQueue, "has", asked_about)
    port = free_port()

    def ask() -> Any:
        client = Client(f"http://127.0.0.1:{port}", None)
        client.wait_until_it_answers("/health")
        posted = client.json_of("/jobs", drawing(1, 32, 32))
        return client.json(f"/jobs/{posted['job_id']}?wait=30")

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        with pytest.raises(typer.Exit) as ended:
            serve_command(str(tmp_path / "out"), port=port, assignments=["upscale.model=lanczos"])
    assert ended.value.exit_code == 3
    assert answer.result()["state"] == "waiting"
    assert [job.id for job in book_of(tmp_path).unfinished()] == [answer.result()["job_id"]]
