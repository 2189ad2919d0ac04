"""Planning: every source is in exactly one shard exactly once, whatever happens to it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgpipe.errors import (
    ConfigError,
    ObjectExists,
    ObjectMissing,
    ObjectUnreadable,
    StorageError,
    StoreUnavailable,
)
from imgpipe.records import ShardManifest
from imgpipe.storage import keys
from imgpipe.storage.comparison import NOT_IMAGES, RESULTS
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifest_file import manifest_from_bytes, manifest_to_bytes
from imgpipe.storage.manifests import Plan, list_shards, plan, read_manifest, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.store import DOTTED, HIDDEN, ImageStore
from imgpipe_tests.storage.manifests import read_manifests


@pytest.fixture
def source() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def output() -> MemoryStore:
    return MemoryStore()


def fill(store: ImageStore, *names: str, data: bytes = b"x") -> None:
    for name in names:
        store.write(name, data, overwrite=True)


def go(source: ImageStore, output: ImageStore, shard_size: int = 3) -> Plan:
    made = plan(source, output, dataset="demo", shard_size=shard_size)
    seal(made, output)
    return made


def manifest_of(made: Plan, shard: str) -> ShardManifest:
    return manifest_from_bytes(made.files[shard], "", made.dataset, shard)


def members(manifests: list[ShardManifest]) -> list[list[str]]:
    return [[entry.source_key for entry in manifest.entries] for manifest in manifests]


def counts(made: Plan) -> dict[str, int]:
    names = ("new", "changed", "returned", "deleted", "unchanged", "absent")
    return {name: getattr(made, name) for name in names if getattr(made, name)}


def test_first_plan(store: ImageStore, source: MemoryStore) -> None:
    fill(source, "b.png", "a.png", "d/e.jpg", "c.webp")
    made = plan(source, store, dataset="demo", shard_size=3)
    assert counts(made) == {"new": 4}
    assert made.new_shards == ("00000", "00001")
    assert made.files
    assert list(store.list()) == []  # planning writes nothing
    assert seal(made, store) == ("00000", "00001")
    assert list_shards(store, "demo") == ["00000", "00001"]
    assert members(read_manifests(store, "demo")) == [["a.png", "b.png", "c.webp"], ["d/e.jpg"]]
    assert read_manifests(store, "demo") == [manifest_of(made, shard) for shard in made.new_shards]
    listed = {found.key: found for found in source.list()}
    for entry in read_manifest(store, "demo", "00000").entries:
        found = listed[entry.source_key]
        assert (entry.etag, entry.size_bytes, entry.present) == (found.etag, found.size_bytes, True)
        assert entry.image_id == keys.image_id(entry.source_key)


def test_changed_source_is_refreshed_in_its_shard(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.png", "b.png", "c.png", "d.png")
    first = go(source, output)
    fill(source, "b.png", data=b"y")
    made = go(source, output)
    assert counts(made) == {"changed": 1, "unchanged": 3}
    assert (made.new_shards, made.changed_shards) == ((), ("00000",))
    after = read_manifests(output, "demo")
    assert members(after) == members([manifest_of(first, shard) for shard in first.new_shards])
    assert after[0] == manifest_of(made, "00000") != manifest_of(first, "00000")
    assert after[1] == manifest_of(first, "00001")
    entry = after[0].entries[1]
    assert source.read("b.png", etag=entry.etag) == b"y"


def test_a_limit_takes_the_first_and_goes_on_where_it_is_raised(
    source: MemoryStore, output: MemoryStore
) -> None:
    fill(source, "a.png", "b.png", "c.png", "d.png", "e.png")
    for limit, taken, beyond in ((2, ["a", "b"], 3), (2, [], 3), (3, ["c"], 2), (None, ["d", "e"], 0)):
        made = plan(source, output, dataset="demo", shard_size=10, limit=limit)
        new = members([manifest_of(made, shard) for shard in seal(made, output)])
        assert [name.removesuffix(".png") for shard in new for name in shard] == taken
        assert (made.new, made.left_out.count(f"images beyond the limit of {limit}")) == (len(taken), beyond)


def test_size_alone_is_a_change(source: MemoryStore, output: MemoryStore, monkeypatch: Any) -> None:
    fill(source, "a.png")
    go(source, output)
    (found,) = source.list()
    monkeypatch.setattr(source, "list", lambda *_, **__: iter([replace(found, size_bytes=99)]))
    assert counts(go(source, output)) == {"changed": 1}


def test_object_that_is_listed_twice_counts_once(
    source: MemoryStore, output: MemoryStore, monkeypatch: Any
) -> None:
    fill(source, "a.png", "b.png")
    objects = [found for found in source.list() for _ in range(2)]  # a page was fetched again
    monkeypatch.setattr(source, "list", lambda *_, **__: iter(objects))
    assert counts(go(source, output)) == {"new": 2}
    assert counts(go(source, output)) == {"unchanged": 2}


def test_other_objects_are_reported(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.PNG", "b.JpEg", "c.txt", "d.png.bak", "png", "notes/e.json", "f.", "g.heic")
    fill(source, *(f"x/{number:03d}.csv" for number in range(30)))
    made = go(source, output)
    assert members(read_manifests(output, "demo")) == [["a.PNG", "b.JpEg", "g.heic"]]
    assert made.left_out.counts == {NOT_IMAGES: 35}
    assert len(made.left_out.names(NOT_IMAGES)) == 20
    assert made.left_out.names(NOT_IMAGES)[:5] == ("c.txt", "d.png.bak", "f.", "notes/e.json", "png")


def test_results_of_another_output_are_no_sources(source: MemoryStore, output: MemoryStore) -> None:
    made_by_imgpipe = "girl-0123456789abcdef0123"
    results = (
        *(f"first/{folder}/demo/00000/{made_by_imgpipe}.png" for folder in ("matted", "rejected/upscaled")),
        f"first/enhanced/demo/00012/{made_by_imgpipe}/source_enhanced.webp",
        f"first/quality/demo/00000/{made_by_imgpipe}/diff.png",
        f"first/reports/demo/thumbs/{made_by_imgpipe}.source.0123456789ab.webp",
        f"deep/er/review/demo/matted_images/00000/{made_by_imgpipe}/00001-0123456789ab.png",
        f"upscaled/demo/00000/{made_by_imgpipe}.png",
    )
    own = (
        "a.png",
        f"{made_by_imgpipe}.png",
        f"demo/00000/{made_by_imgpipe}.png",  # somebody's copy of a folder of results
        "matted/2024/00012/girl-12.png",
        "reports/2024/thumbs/a.webp",
    )
    fill(source, *results, *own)
    made = go(source, output)
    assert [key for shard in members(read_manifests(output, "demo")) for key in shard] == sorted(own)
    assert made.left_out.counts == {RESULTS: len(results)}
    assert made.left_out.names(RESULTS) == ("deep/er/", "first/", "./")


def test_hidden_and_dotted_keys_are_counted(source: MemoryStore, output: MemoryStore) -> None:
    for key in ("./a.png", "b/../c.png", ".cache/d.png"):
        source._objects[key] = (b"x", "etag")
    fill(source, "e.png")
    made = go(source, output)
    assert members(read_manifests(output, "demo")) == [["e.png"]]
    assert made.left_out.counts == {DOTTED: 2, HIDDEN: 1}
    assert made.left_out.describe() == [
        f"{DOTTED} (2): ./a.png, b/../c.png",
        f"{HIDDEN} (1): .cache/d.png",
    ]


def test_output_inside_the_source_is_no_source(tmp_path: Path) -> None:
    source = LocalStore(tmp_path)
    (tmp_path / "out").mkdir()
    output = LocalStore(tmp_path / "out")
    fill(source, "a.png", "out2/b.png")
    fill(output, "matted/demo/00000/a.png")
    made = go(source, output)
    assert members(read_manifests(output, "demo")) == [["a.png", "out2/b.png"]]
    assert made.left_out.counts == {}
    assert not go(source, output).files


def test_source_inside_the_output_is_fine(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    fill(LocalStore(tmp_path / "raw"), "a.png")
    assert go(LocalStore(tmp_path / "raw"), LocalStore(tmp_path)).new == 1


def test_source_and_output_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="output: expected another place"):
        go(LocalStore(tmp_path), LocalStore(tmp_path))


def test_arguments(source: MemoryStore, output: MemoryStore) -> None:
    with pytest.raises(ConfigError, match="shard_size"):
        plan(source, output, dataset="demo", shard_size=0)
    with pytest.raises(ConfigError, match="dataset"):
        plan(source, output, dataset="De mo", shard_size=1)


def test_data_sets_are_apart(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.png")
    for name in ("demo", "demo2"):
        seal(plan(source, output, dataset=name, shard_size=3), output)
    assert list_shards(output, "demo") == ["00000"]
    assert read_manifest(output, "demo2", "00000").dataset == "demo2"


def test_shards_beyond_five_digits_stay_in_order(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.png")
    go(source, output)
    data = output.read("shards/demo/00000.parquet")
    for shard in ("99999", "100000"):
        output.write(f"shards/demo/{shard}.parquet", data)
    output.write("shards/demo/notes.txt", b"not a manifest")
    assert list_shards(output, "demo") == ["00000", "99999", "100000"]


def test_failing_listing_deletes_nothing(source: MemoryStore, output: MemoryStore, monkeypatch: Any) -> None:
    fill(source, "a.png", "b.png")
    go(source, output)
    listing = source.list

    def breaking(*_: Any, **__: Any) -> Any:
        yield next(listing())
        raise StoreUnavailable("the network has gone")

    monkeypatch.setattr(source, "list", breaking)
    with pytest.raises(StoreUnavailable):
        go(source, output)
    assert all(entry.present for entry in read_manifest(output, "demo", "00000").entries)


def test_two_planners_at_once(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.png", "b.png")
    one = plan(source, output, dataset="demo", shard_size=1)
    fill(source, "0.png")
    other = plan(source, output, dataset="demo", shard_size=1)
    seal(one, output)
    with pytest.raises(ObjectExists, match="plan again"):
        seal(other, output)
    go(source, output)
    assert sorted(key for shard in members(read_manifests(output, "demo")) for key in shard) == [
        "0.png",
        "a.png",
        "b.png",
    ]


def test_half_sealed_plan_is_completed(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, *(f"{number}.png" for number in range(10)))
    seal(plan(source, output, dataset="demo", shard_size=3), output)
    output.delete(keys.manifest_key("demo", "00003"))  # as if the writer had been killed before the last
    go(source, output)
    assert members(read_manifests(output, "demo"))[3] == ["9.png"]


def test_equal_ids_within_a_shard_are_refused(
    source: MemoryStore, output: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "image_id", lambda key: "Same" if key == "a.png" else "same")
    fill(source, "a.png", "b.png")
    with pytest.raises(StorageError, match=r"'a.png' and 'b.png': both get the image id same"):
        go(source, output)
    assert list(output.list()) == []
    go(source, output, 1)  # In shards of their own their files do not meet.


def test_manifest_is_a_plain_table(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "名/絵.png", data=b"12345")
    go(source, output)
    table = pq.read_table(pa.BufferReader(output.read("shards/demo/00000.parquet")))
    assert table.column_names == ["source_key", "image_id", "etag", "size_bytes", "present"]
    assert table.to_pylist()[0]["source_key"] == "名/絵.png"
    assert table.to_pylist()[0]["size_bytes"] == 5
    assert table.schema.metadata[b"imgpipe.dataset"] == b"demo"
    assert table.schema.metadata[b"imgpipe.shard"] == b"00000"


def test_manifests_that_are_none(source: MemoryStore, output: MemoryStore) -> None:
    with pytest.raises(ObjectMissing, match="imgpipe plan"):
        read_manifest(output, "demo", "00000")
    output.write("shards/demo/00000.parquet", b"no parquet")
    with pytest.raises(ObjectUnreadable, match=r"00000\.parquet: expected a Parquet file"):
        read_manifest(output, "demo", "00000")
    fill(source, "a.png")
    seal(plan(source, output, dataset="other", shard_size=1), output)
    output.write("shards/demo/00000.parquet", output.read("shards/other/00000.parquet"), overwrite=True)
    with pytest.raises(ObjectUnreadable, match="expected a manifest"):
        read_manifest(output, "demo", "00000")


def test_source_in_two_shards_is_refused(source: MemoryStore, output: MemoryStore) -> None:
    fill(source, "a.png")
    go(source, output)
    manifest = read_manifest(output, "demo", "00000")
    forged = manifest_to_bytes(ShardManifest("demo", "00001", manifest.entries))
    output.write("shards/demo/00001.parquet", forged)
    with pytest.raises(StorageError, match="in two sealed shards"):
        go(source, output)


names = st.sampled_from([f"{folder}{name}.png" for folder in ("", "a/", "b/c/") for name in "pqrst"])
steps = st.lists(
    st.lists(st.tuples(st.sampled_from(["put", "put", "delete"]), names, st.binary(max_size=2)), max_size=8),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 5))
def test_whatever_happens(history: list[list[tuple[str, str, bytes]]], shard_size: int) -> None:
    """Add, change, delete, return in any order: compared with a plain dictionary."""
    source, output = MemoryStore(), MemoryStore()
    now: dict[str, bytes] = {}
    ever: set[str] = set()
    sealed: list[list[str]] = []
    before: dict[str, bytes] = {}
    for step in history:
        for action, name, data in step:
            if action == "put":
                source.write(name, data, overwrite=True)
                now[name] = data
            else:
                source.delete(name)
                now.pop(name, None)
        known = set(ever)
        made = go(source, output, shard_size)
        ever |= set(now)
        found = read_manifests(output, "demo")
        assert tuple(manifest.shard for manifest in found) == made.shards
        for shard in (*made.new_shards, *made.changed_shards):
            assert manifest_of(made, shard) in found
        assert members(found)[: len(sealed)] == sealed  # membership never changes
        sealed = members(found)
        assert all(0 < len(shard) <= shard_size for shard in sealed)
        everything = [entry for manifest in found for entry in manifest.entries]
        assert sorted(entry.source_key for entry in everything) == sorted(ever)  # exactly once
        assert len({entry.image_id for entry in everything}) == len(ever)
        assert {entry.source_key for entry in everything if entry.present} == set(now)
        for entry in everything:
            if entry.present:
                assert source.read(entry.source_key, etag=entry.etag) == now[entry.source_key]
        assert made.new == len(set(now) - known)
        assert made.deleted == len(set(before) - set(now))
        assert made.changed == sum(now[key] != before[key] for key in set(now) & set(before))
        assert made.returned == len(set(now) & (known - set(before)))
        total = made.new + made.changed + made.returned + made.deleted + made.unchanged + made.absent
        assert total == len(ever)
        assert not go(source, output, shard_size).files
        before = dict(now)


def test_a_hundred_thousand_objects(source: MemoryStore, output: MemoryStore) -> None:
    for number in range(100_000):
        source.write(f"{number % 100:02d}/{number:06d}.png", b"")
    started = time.perf_counter()
    made = go(source, output, 1000)
    first = time.perf_counter() - started
    assert (made.new, len(made.new_shards)) == (100_000, 100)
    started = time.perf_counter()
    again = go(source, output, 1000)
    second = time.perf_counter() - started
    assert again.unchanged == 100_000
    assert max(first, second) < 30.0, f"planned in {first:.1f} s, again in {second:.1f} s"
