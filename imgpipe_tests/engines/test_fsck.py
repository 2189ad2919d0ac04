"""Rows against files against digests, in every store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgpipe.engines.deleted import as_deleted
from imgpipe.engines.fsck import Depth, Finding, Kind, check, mend
from imgpipe.engines.survey import survey
from imgpipe.errors import LeaseHeld
from imgpipe.records import ImageRow, Status
from imgpipe.storage import keys
from imgpipe.storage.lease import Lease
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import OUTDATED, read_meta, read_table, write_table

IMAGES = 4
SHARDS = ("00000", "00001")


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """Two shards with tables of matting and scoring, as a run leaves them."""
    if request.param == "s3":
        made = open_store(f"s3://{request.getfixturevalue('bucket')}/out", request.getfixturevalue("s3"))
    else:
        made = LocalStore(tmp_path) if request.param == "folder" else MemoryStore()
    return filled(made)


def filled(store: ImageStore) -> ImageStore:
    source = MemoryStore()
    for number in range(IMAGES * len(SHARDS)):
        source.write(f"{number}.png", b"x")
    planned = plan(source, store, dataset="art", shard_size=IMAGES)
    seal(planned, store)
    for shard in SHARDS:
        ids = [keys.image_id(f"{int(shard) * IMAGES + number}.png") for number in range(IMAGES)]
        for asset, names in (("matted_images", {"matted": ""}), ("quality_reports", QUALITY_FILES)):
            rows = [row_of(store, asset, shard, image_id, names) for image_id in ids]
            write_table(store, asset, "art", shard, rows, meta={"manifest_digest": "m"})
    return store


QUALITY_FILES = {"quality.json": "", "diff.png": ""}


def row_of(
    store: ImageStore, asset: str, shard: str, image_id: str, names: Iterable[str], **changed: Any
) -> ImageRow:
    files = {}
    for name in names:
        if asset == "matted_images":
            files[name] = keys.image_key("matted", "art", shard, image_id, "png")
        else:
            files[name] = keys.file_key("quality", "art", shard, image_id, name)
        store.write(files[name], f"{name} of {image_id}".encode(), overwrite=True)
    main, *others = files
    data = store.read(files[main])
    beside = {name: hashlib.sha256(store.read(files[name])).hexdigest() for name in others}
    row = ImageRow(
        source_key="k",
        image_id=image_id,
        etag="e",
        status=Status.OK,
        output_key=files[main],
        output_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        details={"files": files, "sha256": beside},
    )
    return replace(row, **changed)


def found(store: ImageStore, depth: Depth = Depth.KEPT) -> list[tuple[str, str, str]]:
    return [(one.kind.value, one.shard, one.key) for one in findings(store, depth)]


def findings(store: ImageStore, depth: Depth = Depth.KEPT) -> list[Finding]:
    return [finding for shard in check(store, depth=depth) for finding in shard.findings]


def rows_of(store: ImageStore, shard: str = "00000", asset: str = "matted_images") -> list[ImageRow]:
    return read_table(store, asset, "art", shard)[0]


@pytest.mark.parametrize("depth", Depth)
def test_what_a_run_leaves_is_clean(store: ImageStore, depth: Depth) -> None:
    store.write("matted/notes.txt", b"somebody's own")
    store.write("reports/art/index.html", b"x")
    checks = list(check(store, depth=depth))
    assert [one.findings for one in checks] == [[], []]
    assert [(one.dataset, one.shard, one.rows, one.files) for one in checks] == [
        ("art", shard, 2 * IMAGES, 3 * IMAGES) for shard in SHARDS
    ]
    kept = {Depth.SIZES: 0, Depth.KEPT: 0 if isinstance(store, LocalStore) else 3 * IMAGES}
    assert {one.verified for one in checks} == {kept.get(depth, 3 * IMAGES)}


def test_damage_is_found_both_ways_and_made_again(store: ImageStore) -> None:
    first, second, third, fourth = rows_of(store)
    store.delete(first.output_key)
    store.write(second.output_key, b"cut", overwrite=True)
    store.write(third.output_key, b"x" * third.size_bytes, overwrite=True)
    store.delete(keys.file_key("quality", "art", "00000", fourth.image_id, "diff.png"))
    heat_map = keys.file_key("quality", "art", "00000", third.image_id, "diff.png")
    store.write(heat_map, b"y" * len(store.read(heat_map)), overwrite=True)
    orphan = keys.image_key("matted", "art", "00001", f"nobody-{'0' * 20}", "png")
    store.write(orphan, b"orphan")
    rejected = keys.placed_key(fourth.output_key, rejected=True)  # a copy that a crash left
    store.write(rejected, b"copy")
    expected = {
        ("missing", "00000", first.output_key),
        ("size", "00000", second.output_key),
        ("checksum", "00000", third.output_key),
        ("checksum", "00000", heat_map),
        ("missing", "00000", keys.file_key("quality", "art", "00000", fourth.image_id, "diff.png")),
        ("orphan", "00000", rejected),
        ("orphan", "00001", orphan),
    }
    assert set(found(store, Depth.DEEP)) == expected
    folder = isinstance(store, LocalStore)  # which keeps no digests
    assert set(found(store)) == {one for one in expected if not (folder and one[0] == "checksum")}
    assert not [one for one in found(store, Depth.SIZES) if one[0] == "checksum"]

    wanted = findings(store, Depth.DEEP)
    here = [one for one in wanted if one.shard == "00000"]
    assert mend(store, here, repair=False, remove=False, depth=Depth.DEEP) == []
    done = mend(store, here, repair=True, remove=False, depth=Depth.DEEP)
    assert {one.kind for one in done} == {Kind.MISSING, Kind.SIZE, Kind.CHECKSUM}
    assert not any(store.exists(row.output_key) for row in (first, second, third))
    assert store.exists(rejected)
    for asset in ("matted_images", "quality_reports"):
        assert (read_meta(store, asset, "art", "00000") or {})["manifest_digest"] == OUTDATED
        assert (read_meta(store, asset, "art", "00001") or {})["manifest_digest"] == "m"
    for shard in SHARDS:
        mend(
            store, [one for one in wanted if one.shard == shard], repair=False, remove=True, depth=Depth.DEEP
        )
    assert not store.exists(orphan)
    assert not store.exists(rejected)
    assert {kind for kind, *_ in found(store)} == {"missing"}
    assert list(store.list("leases/")) == []


def test_what_changed_since_it_was_found_is_left_alone() -> None:
    store = filled(MemoryStore())
    row = rows_of(store)[0]
    data = store.read(row.output_key)
    store.delete(row.output_key)
    (finding,) = findings(store)
    store.write(row.output_key, data)
    assert mend(store, [finding], repair=True, remove=True, depth=Depth.KEPT) == []
    assert store.exists(row.output_key)
    other = Lease(store, "art", "00000")
    other.acquire(None)
    with pytest.raises(LeaseHeld):
        mend(store, [finding], repair=True, remove=True, depth=Depth.KEPT)
    other.release()


def test_a_shard_at_work_or_left_by_a_killed_run_is_not_judged() -> None:
    store = filled(MemoryStore())
    for shard in SHARDS:
        store.delete(rows_of(store, shard)[0].output_key)
    store.write(keys.lease_key("art", "00000", 1), b"{}")
    write_table(store, "unfinished_upscaled_images", "art", "00001", [], meta={})
    assert [(one.kind, one.shard) for one in findings(store)] == [
        (Kind.UNFINISHED, "00000"),
        (Kind.UNFINISHED, "00001"),
    ]


def test_damaged_tables_and_manifests(store: ImageStore) -> None:
    table = keys.table_key("matted_images", "art", "00000")
    spoilt = bytearray(store.read(table))
    spoilt[len(spoilt) // 4] ^= 1  # in the pages, not in the footer
    store.write(table, bytes(spoilt), overwrite=True)
    manifest = keys.manifest_key("art", "00001")
    store.write(manifest, b"", overwrite=True)
    assert found(store) == [("table", "00000", table), ("manifest", "00001", manifest)]
    store.delete(manifest)
    assert found(store) == [("table", "00000", table), ("manifest", "00001", manifest)]
    done = mend(store, findings(store)[:1], repair=True, remove=True, depth=Depth.KEPT)
    assert [one.key for one in done] == [table]
    assert not store.exists(table)
    # Until the next run makes it, it is gone while its files are there.
    assert found(store) == [("table", "00000", table), ("manifest", "00001", manifest)]
    assert "4 files of its stage are there" in findings(store)[0].said
    for key in [item.key for item in store.list("tables/") if "/00001." in item.key]:
        store.delete(key)
    left = [item.key for prefix in ("matted/art/00001", "quality/art/00001") for item in store.list(prefix)]
    assert [key for kind, _, key in found(store) if kind == "orphan"] == left  # nothing else is known of it


def test_rows_that_are_not_the_manifests() -> None:
    store = filled(MemoryStore())
    rows = rows_of(store)
    write_table(store, "matted_images", "art", "00000", [*rows[1:], rows[1]], meta={"manifest_digest": "m"})
    kinds = {(one.kind, one.key): one for one in findings(store)}
    assert set(kinds) == {(Kind.ROWS, ""), (Kind.ORPHAN, rows[0].output_key)}
    assert "1 lack one, 0 are not the shard's, 1 are repeated" in kinds[Kind.ROWS, ""].said
    mend(store, findings(store), repair=True, remove=False, depth=Depth.KEPT)
    assert (read_meta(store, "matted_images", "art", "00000") or {})["manifest_digest"] == OUTDATED


def test_files_of_images_in_error_and_of_deleted_sources_are_no_orphans() -> None:
    store = filled(MemoryStore())
    first, second, *others = rows_of(store)
    error = replace(first, status=Status.ERROR, output_key="", details={})
    rows = [error, as_deleted(replace(second, details={}), second), *others]
    write_table(store, "matted_images", "art", "00000", rows, meta={})
    assert found(store) == []
    store.delete(second.output_key)  # pruned
    assert found(store) == []


def test_shards_are_met_in_order_of_text_and_one_alone_is_found() -> None:
    """Names grow at 100,000, and one is the beginning of the other; data sets' names begin alike."""
    store = MemoryStore()
    expected = [("art", "10000"), ("art", "100000"), ("art", "10001"), ("art_2", "00000")]
    for dataset, shard in expected:
        for asset, folder in (("matted_images", "matted"), ("quality_reports", "quality")):
            write_table(store, asset, dataset, shard, [], meta={})
            store.write(keys.image_key(folder, dataset, shard, keys.image_id("a.png"), "png"), b"x")
    met = list(survey(store))
    assert [(one.dataset, one.shard) for one in met] == expected
    assert {(len(one.tables), len(one.files)) for one in met} == {(2, 2)}
    for dataset, shard in expected:
        assert [(one.dataset, one.shard) for one in survey(store, dataset, shard)] == [(dataset, shard)]
    assert [one.shard for one in survey(store, "art_2")] == ["00000"]
