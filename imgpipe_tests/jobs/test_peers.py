"""Servers on one output: what one that is gone has left is found, what a living one does is left to it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imgpipe.config import load_settings
from imgpipe.jobs.book import JobBook, open_book
from imgpipe.jobs.job import DATASET, Job
from imgpipe.jobs.peers import Peers
from imgpipe.jobs.request import job_settings, order
from imgpipe.processes import Process
from imgpipe.storage import keys, lease
from imgpipe_tests.jobs.pictures import CLASSICAL, drawing

HERE = Process.current()


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return open_book(load_settings({"output": str(tmp_path / "out"), **CLASSICAL}))


@pytest.fixture
def job(book: JobBook) -> Job:
    return book.add(order(drawing(), job_settings(book.base, ("upscale",), {"scale": 2})))


@pytest.fixture
def peers(book: JobBook) -> Peers:
    joined = Peers(book)
    joined.join()
    return joined


def leave(book: JobBook, name: str, process: Process) -> None:
    """A lease as a process that was killed just now leaves it."""
    text = {"process": process.text(), "token": "theirs", "since": lease._now(), "renewed": lease._now()}
    book.stores.output.write(keys.lease_key(DATASET, name, 1), json.dumps(text).encode())


def leases(book: JobBook) -> int:
    return len(list(book.stores.output.list("leases/")))


def test_a_living_server_keeps_its_jobs(book: JobBook, job: Job, peers: Peers) -> None:
    other = Peers(book)
    other.join()
    assert peers.left_behind([]) == other.left_behind([]) == []
    assert leases(book) == 2
    other.leave()
    assert peers.left_behind([]) == []
    peers.leave()
    assert leases(book) == 0


@pytest.mark.parametrize("name", ["server0123", "00000"])
def test_what_a_dead_process_of_this_machine_has_left_is_found_once(
    name: str, book: JobBook, job: Job, peers: Peers
) -> None:
    leave(book, name, replace(HERE, started="1"))
    assert peers.left_behind([job.id]) == []
    leave(book, name, replace(HERE, started="1"))
    assert peers.left_behind([]) == [job]
    assert peers.left_behind([]) == []
    assert leases(book) == 1


def test_a_server_of_another_machine_is_gone_when_it_does_not_renew(
    book: JobBook, job: Job, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(book, "server0123", replace(HERE, host="elsewhere"))
    leave(book, job.shard, replace(HERE, host="elsewhere"))
    assert peers.left_behind([]) == []
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
    time.sleep(0.01)
    assert peers.left_behind([]) == [job]
    book.run(job, again=True)
    assert book.unfinished() == []


def test_a_server_that_was_taken_for_dead_joins_again(
    book: JobBook, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    stopped = Peers(book)
    stopped.join()
    name = stopped._name
    leave_number = keys.lease_key(DATASET, name, 2)
    book.stores.output.write(leave_number, b"{}")  # as another writes who takes over
    deadline = time.monotonic() + 60
    while stopped._name == name and time.monotonic() < deadline:
        stopped.left_behind([])
        time.sleep(0.01)
    assert stopped._name != name
