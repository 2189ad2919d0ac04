"""Leases: one holder at a time, found out when it is gone, in every store."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imgpipe.errors import LeaseHeld, LeaseLost
from imgpipe.processes import Process
from imgpipe.settings import S3Settings
from imgpipe.storage import keys, lease
from imgpipe.storage.lease import Holder, Lease, hold
from imgpipe.storage.local import LocalStore
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore
from imgpipe_tests.storage.faulty_server import faulty_server

HERE = Process.current()


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    if request.param == "s3":
        s3: S3Settings = request.getfixturevalue("s3")
        return open_store(f"s3://{request.getfixturevalue('bucket')}/results", s3)
    return LocalStore(tmp_path) if request.param == "folder" else MemoryStore()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is over after half a second."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)


def leave(
    store: ImageStore, process: Process, number: int = 1, age: str = "2026-01-01T00:00:00+00:00"
) -> None:
    """A lease as a holder that crashed leaves it."""
    renewed = age if age else lease._now()
    text = json.dumps({"process": process.text(), "token": "theirs", "since": renewed, "renewed": renewed})
    store.write(keys.lease_key("art", "00000", number), text.encode(), overwrite=True)


def held(store: ImageStore) -> list[str]:
    return [item.key for item in store.list("leases/")]


def test_it_is_held_within_the_block_and_gone_after_it(store: ImageStore) -> None:
    with hold(store, "art", "00000") as mine:
        mine.require()
        assert held(store) == ["leases/art/00000-00000001.json"]
        with hold(store, "art", "00001"), hold(store, "art", "00000") as again:
            assert again is mine
            assert len(held(store)) == 2
        with pytest.raises(
            LeaseHeld, match=rf"art 00000 is held by process {HERE.pid} on {HERE.host} since 20"
        ):
            Lease(store, "art", "00000").acquire(None)
    assert held(store) == []


def test_of_many_at_once_one_works(store: ImageStore, quick: None) -> None:
    working, most, done = 0, 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal working, most
        mine = Lease(store, "art", "00000")
        mine.acquire(time.sleep)
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.02)
        with lock:
            working -= 1
            done.append(number)
        mine.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (most, sorted(done)) == (1, list(range(6)))
    assert held(store) == []


def test_a_process_of_this_machine_that_is_gone_is_succeeded_at_once(store: ImageStore) -> None:
    leave(store, replace(HERE, started="1"), age="")
    mine = Lease(store, "art", "00000")
    mine.acquire(None)
    assert held(store) == ["leases/art/00000-00000002.json"]
    mine.release()


def test_one_of_another_machine_is_succeeded_when_it_was_silent(
    store: ImageStore, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """By the clock of the one who waits: the other's may be hours ahead."""
    leave(store, replace(HERE, host="elsewhere"), age="2100-01-01T00:00:00+00:00")
    with pytest.raises(LeaseHeld, match="elsewhere"):
        Lease(store, "art", "00000").acquire(None)
    before = time.monotonic()
    with caplog.at_level(logging.WARNING), hold(store, "art", "00000"):
        assert 0.5 <= time.monotonic() - before < 5
    (said,) = [record.getMessage() for record in caplog.records if record.name == lease.__name__]
    assert said.startswith(f"waiting: art 00000 is held by process {HERE.pid} on elsewhere since 2100")


def test_what_is_old_by_any_clock_is_over(store: ImageStore) -> None:
    leave(store, replace(HERE, host="elsewhere"))
    with hold(store, "art", "00000", sleep=None):
        pass
    assert held(store) == []


def test_who_renews_is_waited_for(store: ImageStore, quick: None) -> None:
    mine = Lease(store, "art", "00000")
    mine.acquire(None)
    other = Lease(store, "art", "00000")
    end = time.monotonic() + 1.5

    def sleep(seconds: float) -> None:
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(seconds)

    with pytest.raises(TimeoutError):
        other.acquire(sleep)
    mine.require()
    mine.release()
    other.acquire(sleep)
    other.release()


def test_who_was_succeeded_finds_out(store: ImageStore, quick: None) -> None:
    mine = Lease(store, "art", "00000")
    mine.acquire(None)
    leave(store, replace(HERE, host="elsewhere"), number=2)
    mine._renewing.join(timeout=30)
    with pytest.raises(LeaseLost, match="another took over"):
        mine.require()
    mine.release()
    assert "leases/art/00000-00000002.json" in held(store)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"process": "x"}', b"\xff"])
def test_a_damaged_one_is_free(data: bytes) -> None:
    store = MemoryStore()
    store.write(keys.lease_key("art", "00000", 7), data)
    assert Holder.read(data) is None
    with hold(store, "art", "00000", sleep=None):
        assert held(store) == ["leases/art/00000-00000008.json"]


def test_a_look_from_before_the_last_holder_left_does_not_count() -> None:
    """It writes a number that nobody has, beside the lease that another took meanwhile: it gives way."""

    class Late(MemoryStore):
        meanwhile = False

        def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
            if not self.meanwhile:
                self.meanwhile = True
                self.delete(keys.lease_key("art", "00000", 5))
                leave(self, HERE, number=1, age="")
            super().write(key, data, overwrite=overwrite)

    store = Late()
    MemoryStore.write(store, keys.lease_key("art", "00000", 5), b"damaged")
    with pytest.raises(LeaseHeld):
        Lease(store, "art", "00000").acquire(None)
    assert held(store) == ["leases/art/00000-00000001.json"]


def test_a_killed_process_is_succeeded(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from imgpipe.storage.lease import hold\n"
        "from imgpipe.storage.local import LocalStore\n"
        "with hold(LocalStore(sys.argv[1]), 'art', '00000'): print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        store = LocalStore(tmp_path)
        with pytest.raises(LeaseHeld, match=f"process {child.pid} on"):
            Lease(store, "art", "00000").acquire(None)
    finally:
        child.kill()
        child.communicate()
    with hold(store, "art", "00000", sleep=None):
        assert held(store) == ["leases/art/00000-00000002.json"]


def test_whether_a_store_can_hold_leases_is_tried(store: ImageStore) -> None:
    assert lease.honours_conditional_writes(store)
    assert not list(store.list())


@pytest.mark.skipif("IMGPIPE_TEST_S3_URL" in os.environ, reason="a real server's signatures cover the header")
def test_a_server_that_ignores_the_condition_is_found_out(s3: S3Settings, bucket: str) -> None:
    with faulty_server(str(s3.endpoint_url)) as server:
        server.dropped.add("if-none-match")
        store = open_store(f"s3://{bucket}", S3Settings(endpoint_url=server.url, region="us-east-1"))
        assert not lease.honours_conditional_writes(store)
        assert server.count("DELETE", ".imgpipe-probe-") == 1
