"""The store in memory beside what the contract says of every store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from imgpipe.errors import ObjectExists
from imgpipe.storage.memory import MemoryStore


def test_two_stores_are_two_places() -> None:
    assert MemoryStore().url != MemoryStore().url
    assert MemoryStore("a/b").url == "memory://a/b"


def test_one_of_many_writers_wins() -> None:
    store, barrier = MemoryStore(), threading.Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait()
        try:
            store.write("x.png", b"%d" % number)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    assert outcomes.count(True) == 1
    assert store.read("x.png") == b"%d" % outcomes.index(True)


def test_bytes_are_kept_as_they_were() -> None:
    store, data = MemoryStore(), bytearray(b"abc")
    store.write("x.png", data)  # type: ignore[arg-type]
    data[0] = 0
    assert store.read("x.png") == b"abc"


def test_objects_may_go_while_they_are_listed() -> None:
    store = MemoryStore()
    for name in "abc":
        store.write(name, b"")
    listing = store.list()
    assert next(listing).key == "a"
    store.delete("b")
    assert [found.key for found in listing] == ["c"]
