"""Listings in key order from servers that list in any order."""

from __future__ import annotations

import hashlib
import logging
import random
import sqlite3
import tracemalloc
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from imgpipe.errors import StoreUnavailable
from imgpipe.records import SourceObject
from imgpipe.settings import S3Settings
from imgpipe.storage import s3_listing as module
from imgpipe.storage.manifests import plan
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_listing import in_key_order

NAMES = sorted(
    [f"char/{number:03}.png" for number in range(40)]
    + [f"char-b/{number:03}.png" for number in range(40)]
    + ["char.png", "char0.png", "\U0001f600.png", "\ue000.png", "ü.png", "z/a/1.png", "z/a-1.png"]
)


def by_hash(key: str) -> Any:
    return hashlib.sha256(key.encode()).digest()


def by_folder(key: str) -> Any:
    return key.split("/")


def by_utf16(key: str) -> Any:
    return key.encode("utf-16-be")


class Server:
    """A bucket's listing in an order of its own; ``StartAfter`` cuts where its order has that key."""

    def __init__(self, names: list[str], order: Any = str) -> None:
        self.names = sorted(names, key=order)
        self.order = order
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, prefix: str, start_after: str | None) -> Iterator[SourceObject]:
        self.asked.append((prefix, start_after))
        for name in self.names:
            if name.startswith(prefix) and (
                start_after is None or self.order(name) > self.order(start_after)
            ):
                yield SourceObject(name, len(name), f"e-{name}")


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_unsorted", set())


def listed(
    server: Server, order: str = "auto", prefix: str = "", start_after: str | None = None
) -> list[str]:
    found = list(in_key_order(server, "http://host/bucket", order, prefix, start_after))
    assert all((item.size_bytes, item.etag) == (len(item.key), f"e-{item.key}") for item in found)
    return [item.key for item in found]


@pytest.mark.parametrize("order", ["auto", "unsorted"])
@pytest.mark.parametrize("key", [str, by_hash, by_folder, by_utf16])
def test_every_order_is_listed_by_key(key: Any, order: str) -> None:
    server = Server(NAMES, key)
    assert listed(server, order) == NAMES
    for prefix in ("char", "char/", "z/a", "none"):
        expected = [name for name in NAMES if name.startswith(prefix)]
        assert listed(server, order, prefix) == expected
    for start in ("char-b/020.png", "char", "", "zz"):
        assert listed(server, order, start_after=start) == [name for name in NAMES if name > start]


def test_a_server_that_sorts_is_listed_once_and_not_spooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", None)
    for order in ("auto", "sorted"):
        server = Server(NAMES)
        assert listed(server, order, "char", "char/020.png") == [
            name for name in NAMES if name.startswith("char") and name > "char/020.png"
        ]
        assert server.asked == [("char", "char/020.png")]


def test_a_server_that_ignores_start_after() -> None:
    class Ignoring(Server):
        def __call__(self, prefix: str, start_after: str | None) -> Iterator[SourceObject]:
            return super().__call__(prefix, None)

    assert listed(Ignoring(NAMES), start_after="char/020.png") == [
        name for name in NAMES if name > "char/020.png"
    ]


def test_what_was_found_out_is_said_once_and_remembered(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(NAMES, by_hash)
    assert module.lists_by_key("http://host/bucket", "auto")
    with caplog.at_level(logging.WARNING):
        listed(server)
        asked = len(server.asked)
        listed(server, start_after="char/020.png")
    assert len(server.asked) == asked + 1  # StartAfter is not tried again.
    assert server.asked[-1] == ("", None)
    assert not module.lists_by_key("http://host/bucket", "auto")
    (record,) = caplog.records
    assert "does not list in key order" in record.message
    assert "s3.listing_order=unsorted" in record.message


def test_late_disorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind what is held back it is yielded as it comes; the second listing is sorted."""
    monkeypatch.setattr(module, "AHEAD", 10)
    server = Server(NAMES, by_folder)
    assert listed(server) == server.names
    assert listed(server) == NAMES


def test_a_plan_meets_late_disorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 2)
    made = client()
    with Stubber(made) as stub:
        for _ in range(2):  # Listed in the server's order, then sorted.
            stub.add_response("list_objects_v2", page("a/1.png", "a/2.png", "a/3.png", "a-1.png"))
        found = plan(S3Store("bucket", "p", made), MemoryStore(), dataset="art", shard_size=9)
        stub.assert_no_pending_responses()
    assert found.new == 4


def test_a_full_disk_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(StoreUnavailable, match=r"disk is full.*TMPDIR"):
        listed(Server(NAMES, by_hash))


def test_memory_does_not_grow_with_the_listing() -> None:
    names = [f"{number:07}.png" for number in range(150_000)]
    random.Random(1).shuffle(names)

    def server(prefix: str, start_after: str | None) -> Iterator[SourceObject]:
        return (SourceObject(name, 1, "e") for name in names)

    tracemalloc.start()
    before = ""
    count = 0
    for found in in_key_order(server, "place", "unsorted", "", None):
        assert before < found.key
        before = found.key
        count += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(names)
    assert peak < 2_000_000, peak  # A list of them would take 20 MB.


def client() -> Any:
    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


def page(*names: str, token: str = "") -> dict[str, Any]:
    listed = [{"Key": f"p/{name}", "Size": 1, "ETag": '"e"'} for name in names]
    more = {"IsTruncated": True, "NextContinuationToken": token} if token else {"IsTruncated": False}
    return {"Contents": listed, **more}


def test_pages_in_another_order_are_planned_by_key() -> None:
    made = client()
    with Stubber(made) as stub:
        stub.add_response("list_objects_v2", page("c.png", "a.png", token="next"))
        stub.add_response("list_objects_v2", page("d.png", "b.png"))
        found = plan(S3Store("bucket", "p", made), MemoryStore(), dataset="art", shard_size=2)
        stub.assert_no_pending_responses()
    assert (found.new, found.shards) == (4, ("00000", "00001"))


def test_any_key_is_one_request() -> None:
    made = client()
    with Stubber(made) as stub:
        stub.add_response("list_objects_v2", page("c.png", "a.png", token="next"))
        assert S3Store("bucket", "p", made).any_key() == "c.png"


def test_a_directory_bucket_is_asked_only_what_it_can(s3: S3Settings) -> None:
    """S3 Express One Zone knows neither StartAfter nor prefixes that do not end with a slash."""
    made = client()
    made.meta.events.register("before-sign.s3", lambda **_: None)
    store = S3Store("images--usw2-az1--x-s3", "p", made)
    asked: list[dict[str, Any]] = []

    def answer(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return page("b/2.png", "a.png", "b/1.png")

    made.list_objects_v2 = answer
    assert [found.key for found in store.list("b/", start_after="b/1.png")] == ["b/2.png"]
    assert [found.key for found in store.list("b/2")] == ["b/2.png"]
    assert [found.key for found in store.list("b")] == ["b/1.png", "b/2.png"]
    assert [request["Prefix"] for request in asked] == ["p/b/", "p/b/", "p/"]
    assert not any("StartAfter" in request for request in asked)
