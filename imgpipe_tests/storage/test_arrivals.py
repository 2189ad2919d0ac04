"""Looks for new sources: bounded, resumable, and every source is sealed exactly once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgpipe.config import Settings, load_settings
from imgpipe.errors import ConfigError, ObjectUnreadable, StoreUnavailable
from imgpipe.storage import deletions, keys, s3_listing
from imgpipe.storage import walk as walk_module
from imgpipe.storage.arrivals import Scan, scan
from imgpipe.storage.comparison import NOT_IMAGES
from imgpipe.storage.manifests import plan, read_manifest, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.source_record import record_source, recorded_source
from imgpipe.storage.store import ImageStore
from imgpipe.storage.waiting import read_waiting
from imgpipe_tests.storage.manifests import read_manifests

START = datetime(2026, 3, 1, tzinfo=UTC)


class Site:
    """A source, an output and a sensor's cursor."""

    def __init__(self, shard_size: int = 3, *, max_deleted_share: float = 1, **automation: Any) -> None:
        self.source: ImageStore = MemoryStore()
        self.output = MemoryStore()
        self.settings: Settings = load_settings(
            {
                "dataset": "demo",
                "shard_size": shard_size,
                "automation": automation,
                "limits.max_deleted_share": max_deleted_share,
            }
        )
        self.cursor: str | None = None
        self.now = START

    def put(self, *names: str, data: bytes = b"x") -> None:
        for name in names:
            self.source.write(name, data, overwrite=True)

    def scan(self, *, minutes: float = 1) -> Scan:
        self.now += timedelta(minutes=minutes)
        found = scan(self.source, self.output, self.settings, self.cursor, self.now)
        self.cursor = found.cursor
        return found

    def round(self) -> list[Scan]:
        scans = [self.scan()]
        while not scans[-1].ended:
            scans.append(self.scan())
        return scans

    def members(self) -> list[list[str]]:
        return [[e.source_key for e in m.entries] for m in read_manifests(self.output, "demo")]

    def sources(self) -> list[str]:
        return sorted(key for shard in self.members() for key in shard)


def test_full_shards_are_sealed_and_the_rest_waits_its_time() -> None:
    site = Site(max_wait_seconds=600)
    site.put("d.png", "a.png", "c.png", "b.png", "note.txt")
    found = site.scan()
    assert (found.new, found.left_out.counts, found.sealed, found.waiting) == (
        4,
        {NOT_IMAGES: 1},
        ("00000",),
        1,
    )
    assert site.members() == [["a.png", "b.png", "c.png"]]
    assert found.touched == {"00000": read_manifest(site.output, "demo", "00000").digest}
    assert site.scan().touched == {}
    site.put("e.png")
    assert site.scan(minutes=5).waiting == 2
    due = site.scan(minutes=5)
    assert (due.sealed, due.waiting, due.new) == (("00001",), 0, 0)
    assert site.members()[1] == ["d.png", "e.png"]


def test_a_plan_and_a_look_give_a_source_the_same_id() -> None:
    names = ("x.png", "名前.png", "Кот.png", "a/é.png", "a/e\u0301.png")
    found, planned = Site(shard_size=2, max_wait_seconds=0), Site()
    for site in (found, planned):
        site.put(*names)
    found.scan()
    seal(plan(planned.source, planned.output, dataset="demo", shard_size=2), planned.output)
    assert read_manifests(found.output, "demo") == read_manifests(planned.output, "demo")


def test_nothing_new_writes_nothing() -> None:
    site = Site(max_wait_seconds=0)
    site.put("a.png")
    site.scan()
    before = [(found.key, found.etag) for found in site.output.list()]
    assert (site.scan().new, site.scan().touched) == (0, {})
    assert [(found.key, found.etag) for found in site.output.list()] == before


def test_a_look_is_bounded_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "WINDOW", 4)
    site = Site(shard_size=5, objects_per_tick=10, max_wait_seconds=0)
    names = [f"{number:03d}.png" for number in range(37)]
    site.put(*names)
    scans = site.round()
    assert [one.compared for one in scans] == [10, 10, 10, 7]
    assert site.sources() == names
    assert all(len(one.cursor) < 500 for one in scans)
    assert sum(one.new for one in site.round()) == 0


def test_a_look_counts_images_alone_and_says_how_long_they_wait() -> None:
    site = Site(shard_size=2, max_wait_seconds=3600)
    site.put("a.png", "b.png", "c.png", "notes.txt", "list.csv")
    first = site.scan(minutes=1)
    assert (first.compared, first.waiting) == (3, 1)
    until = "1 image waiting for a full shard, until 2026-03-01 01:01 UTC"
    assert until in first.describe()
    assert until in site.scan(minutes=59).describe()
    last = site.scan(minutes=1)
    assert (last.compared, last.sealed, last.waits_until) == (3, ("00001",), None)
    assert "0 images waiting;" in last.describe()


def test_changes_and_deletions_touch_their_own_shard_only() -> None:
    site = Site(shard_size=2)
    site.put("a.png", "b.png", "c.png", "d.png")
    site.scan()
    site.put("c.png", data=b"other")
    site.source.delete("a.png")
    found = site.scan()
    assert (found.changed, found.deleted, found.new) == (1, 1, 0)
    assert found.touched == {
        shard: read_manifest(site.output, "demo", shard).digest for shard in ("00000", "00001")
    }
    assert [entry.present for entry in read_manifest(site.output, "demo", "00000").entries] == [False, True]
    site.put("a.png")
    assert (site.scan().returned, site.scan().returned) == (1, 0)


def test_prefixes_are_walked_apart_and_nothing_else_is_touched() -> None:
    site = Site(prefixes=["b/", "d/"], max_wait_seconds=0, objects_per_tick=2)
    site.put("a.png", "b.png", "b/1.png", "b/2.png", "c/1.png", "d/1.png", "e.png")
    seal(plan(site.source, site.output, dataset="demo", shard_size=100), site.output)
    site.source.delete("b/2.png")
    site.source.delete("a.png")
    site.put("d/2.png", "f.png", "b/0.png")
    scans = site.round()
    assert sum(one.new for one in scans) == 2
    assert sum(one.deleted for one in scans) == 1
    gone = [
        entry.source_key for entry in read_manifest(site.output, "demo", "00000").entries if not entry.present
    ]
    assert gone == ["b/2.png"]
    assert sorted(key for shard in site.members()[1:] for key in shard) == ["b/0.png", "d/2.png"]


def test_a_waiting_source_that_goes_or_changes_is_followed() -> None:
    site = Site(max_wait_seconds=600)
    site.put("a.png", "b.png")
    assert site.scan().waiting == 2
    site.source.delete("a.png")
    site.put("b.png", data=b"newer")
    assert site.scan().waiting == 1
    site.scan(minutes=10)
    (entry,) = read_manifest(site.output, "demo", "00000").entries
    assert site.source.read("b.png", etag=entry.etag) == b"newer"


def test_what_somebody_else_sealed_is_not_sealed_again_out_of_sight() -> None:
    site = Site(shard_size=10, max_wait_seconds=600, objects_per_tick=2)
    site.put(*(f"{letter}.png" for letter in "abcdef"))
    site.round()
    seal(plan(site.source, site.output, dataset="demo", shard_size=10), site.output)
    assert site.scan(minutes=60).sealed == ()  # It sees two of the six.
    assert site.sources() == [f"{letter}.png" for letter in "abcdef"]


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_a_look_that_dies_loses_and_repeats_nothing(fails_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at its n-th write: afterwards every source is sealed once and every shard was asked for."""
    site = Site(shard_size=2, max_wait_seconds=0)
    site.put("a.png", "b.png", "c.png")
    asked = dict(site.scan().touched)
    site.put("b.png", data=b"changed")
    site.put("d.png", "e.png", "f.png")
    original, writes = site.output.write, 0

    def write(key: str, data: bytes, *, overwrite: bool = False) -> None:
        nonlocal writes
        writes += 1
        if writes >= fails_at:
            raise StoreUnavailable("killed")
        original(key, data, overwrite=overwrite)

    monkeypatch.setattr(site.output, "write", write)
    with pytest.raises(StoreUnavailable):
        site.scan()
    monkeypatch.setattr(site.output, "write", original)
    for _ in range(3):
        asked |= site.scan().touched
    assert site.sources() == [f"{letter}.png" for letter in "abcdef"]
    assert asked == {m.shard: m.digest for m in read_manifests(site.output, "demo")}


def test_a_lost_cursor_begins_again_and_seals_nothing_twice() -> None:
    site = Site(shard_size=2)
    site.put("a.png", "b.png")
    first = site.scan().touched
    site.cursor = None
    again = site.scan()
    assert (again.new, again.sealed) == (0, ())
    assert again.touched == first  # Asked for again; equal run keys make it one run.
    assert site.scan().touched == {}


def test_a_strange_cursor_is_refused_with_advice() -> None:
    site = Site()
    for text in ("{", "[]", json.dumps({"version": 9})):
        site.cursor = text
        with pytest.raises(ConfigError, match="reset it"):
            site.scan()


def test_other_prefixes_begin_a_new_round() -> None:
    site = Site(objects_per_tick=1, max_wait_seconds=0)
    site.put("a/1.png", "b/1.png")
    site.scan()
    site.settings = load_settings(
        {
            "dataset": "demo",
            "automation": {"prefixes": ["a/"], "max_wait_seconds": 0, "objects_per_tick": 1},
            "limits.max_deleted_share": 1,
        }
    )
    site.source.delete("a/1.png")
    assert site.scan().deleted == 1


def test_a_waiting_list_is_no_shard() -> None:
    site = Site()
    site.put("a.png")
    site.scan()
    assert site.output.exists(keys.waiting_key("demo"))
    assert site.members() == []
    assert list(read_waiting(site.output, "demo").seen) == ["a.png"]


names = st.sampled_from([f"{folder}{name}.png" for folder in ("", "a/", "b/") for name in "pqrs"])
steps = st.lists(
    st.lists(st.tuples(st.sampled_from(["put", "put", "delete"]), names, st.binary(max_size=2)), max_size=6),
    max_size=8,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 4), st.integers(1, 5))
def test_whatever_happens(history: list[list[tuple[str, str, bytes]]], size: int, budget: int) -> None:
    """Any history, with scans of any size in between, ends as one full plan would see it."""
    site = Site(shard_size=size, objects_per_tick=budget, max_wait_seconds=120)
    for step in history:
        for action, name, data in step:
            if action == "put":
                site.put(name, data=data)
            else:
                site.source.delete(name)
        site.scan()
    site.now += timedelta(hours=1)
    site.round()
    site.now += timedelta(hours=1)
    site.round()
    everything = [entry for manifest in read_manifests(site.output, "demo") for entry in manifest.entries]
    assert len({entry.source_key for entry in everything}) == len(everything)
    assert len({entry.image_id for entry in everything}) == len(everything)
    now = {found.key: found.etag for found in site.source.list()}
    assert {entry.source_key: entry.etag for entry in everything if entry.present} == now
    assert not plan(site.source, site.output, dataset="demo", shard_size=size).files


def test_a_source_that_seems_empty_is_no_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unmounted folder: the scan is refused, nothing is written, and all is well once it is back."""
    site = Site(max_deleted_share=0.2)
    site.put(*(f"{number}.png" for number in range(6)))
    site.scan()
    before = [(found.key, found.etag) for found in site.output.list()]
    there, site.source = site.source, MemoryStore(site.source.url.removeprefix("memory://"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"6 of 6 .* nothing at all is there.*--allow-deletions"):
            site.scan()
    assert [(found.key, found.etag) for found in site.output.list()] == before
    site.source = there
    assert (site.scan().deleted, site.scan().returned) == (0, 0)


@pytest.mark.parametrize(("gone", "refused"), [(2, False), (3, True)])
def test_a_share_of_deletions_is_allowed(gone: int, refused: bool) -> None:
    site = Site(shard_size=5, max_deleted_share=0.2)
    site.put(*(f"{number}.png" for number in range(10)))
    site.scan()
    for number in range(gone):
        site.source.delete(f"{number}.png")
    if refused:
        with pytest.raises(ConfigError, match="3 of 10"):
            site.scan()
    else:
        assert site.scan().deleted == gone


def test_deletions_add_up_over_the_looks_of_a_round() -> None:
    """Each scan loses 10 of 100 sources, below the share: the third one is refused."""
    names = [f"{number:03d}.png" for number in range(100)]
    site = Site(shard_size=100, max_deleted_share=0.2, objects_per_tick=15)
    site.put(*names)
    seal(plan(site.source, site.output, dataset="demo", shard_size=100), site.output)
    for number in range(0, 100, 2):
        site.source.delete(names[number])
    deleted = site.scan().deleted
    assert 10 < deleted <= 20
    with pytest.raises(ConfigError, match="of 100 sources"):
        site.scan()
    site.settings = load_settings({"dataset": "demo", "shard_size": 100, "limits.max_deleted_share": 1})
    deleted += sum(one.deleted for one in site.round())
    assert deleted == 50


class FolderByFolder:
    """The client of a server that lists folder by folder, and after ``StartAfter`` only what is greater."""

    def __init__(self, *names: str) -> None:
        self.meta = SimpleNamespace(endpoint_url="http://folders")
        self.names = sorted(names, key=lambda name: name.split("/"))
        self.heads = 0

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        prefix, after = request["Prefix"], request.get("StartAfter", "")
        found = [name for name in self.names if name.startswith(prefix) and name > after]
        folders = {
            prefix + name.removeprefix(prefix).partition("/")[0] + "/"
            for name in found
            if "Delimiter" in request and "/" in name.removeprefix(prefix)
        }
        files = [name for name in found if not any(name.startswith(folder) for folder in folders)]
        return {
            "IsTruncated": False,
            "Contents": [{"Key": name, "Size": 1, "ETag": f'"{name}"'} for name in files],
            "CommonPrefixes": [{"Prefix": folder} for folder in sorted(folders)],
        }

    def head_object(self, **request: Any) -> dict[str, Any]:
        self.heads += 1
        if request["Key"] in self.names:
            return {"ETag": '"e"'}
        raise ClientError({"Error": {"Code": "404"}}, "HeadObject")


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_server_that_lists_folder_by_folder(is_sealed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks its order does not show: nothing is taken for deleted, nothing is missed for long."""
    monkeypatch.setattr(s3_listing, "AHEAD", 3)
    monkeypatch.setattr(s3_listing, "_unsorted", set())
    site = Site(shard_size=20, objects_per_tick=4, max_wait_seconds=0)
    names = ["a-b.png", *(f"a/{number}.png" for number in range(6)), "b.png"]
    client = FolderByFolder(*names)
    site.source = S3Store("bucket", "", client)
    if is_sealed:
        whole = S3Store("bucket", "", client, listing_order="unsorted")
        seal(plan(whole, site.output, dataset="demo", shard_size=9), site.output)
    scans = [*site.round(), *site.round()]
    assert sum(one.deleted for one in scans) == 0
    assert site.sources() == sorted(names)
    assert any("s3.listing_order=unsorted" in one.describe() for one in scans)
    client.names.remove("a-b.png")
    assert sum(one.deleted for one in site.round()) == 1


def test_so_many_deletions_are_asked_about_in_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "MOST", 2)
    site = Site(max_wait_seconds=0)
    site.put(*(f"{number}.png" for number in range(5)))
    site.scan()
    for number in range(1, 5):
        site.source.delete(f"{number}.png")
    scans = [site.scan() for _ in range(3)]
    assert [one.deleted for one in scans] == [2, 2, 0]
    assert "2 more seem deleted" in scans[0].describe()


def test_a_look_at_another_source_is_refused() -> None:
    site = Site()
    site.put("a.png", "b.png", "c.png")
    site.scan()
    before = [(found.key, found.etag) for found in site.output.list()]
    first, site.source = site.source, MemoryStore("elsewhere")
    site.put("a.png", data=b"another picture")
    with pytest.raises(
        ConfigError, match=r"memory://\d+, not from memory://elsewhere.*--dataset.*--source-moved"
    ):
        site.scan()
    assert [(found.key, found.etag) for found in site.output.list()] == before
    record_source(site.output, "demo", "memory://elsewhere", moved=True)
    assert site.scan().changed == 1
    assert recorded_source(site.output, "demo") == "memory://elsewhere" != first.url


def test_an_emptied_record_of_the_source_stops_nothing() -> None:
    site = Site()
    site.put("a.png", "b.png", "c.png")
    site.scan()
    site.output.write(keys.source_record_key("demo"), b"", overwrite=True)
    site.put("a.png", data=b"newer")
    assert site.scan().changed == 1
    assert recorded_source(site.output, "demo") == site.source.url


def test_an_emptied_waiting_list_is_found_again_and_an_emptied_manifest_stops_the_looks() -> None:
    site = Site(max_wait_seconds=600)
    site.put("a.png", "b.png", "c.png", "d.png")
    assert site.scan().waiting == 1
    site.output.write(keys.waiting_key("demo"), b"", overwrite=True)
    assert site.scan().waiting == 1
    sealed = site.output.read(keys.manifest_key("demo", "00000"))
    site.output.write(keys.manifest_key("demo", "00000"), b"", overwrite=True)
    with pytest.raises(ObjectUnreadable, match=r"00000\.parquet.*restored from a copy"):
        site.scan()
    site.output.write(keys.manifest_key("demo", "00000"), sealed, overwrite=True)
    assert site.scan(minutes=10).sealed == ("00001",)
    assert site.sources() == ["a.png", "b.png", "c.png", "d.png"]
