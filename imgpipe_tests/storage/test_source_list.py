"""Lists and S3 inventories in place of a listing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgpipe.errors import ConfigError, ObjectMissing, ObjectUnreadable, StorageError
from imgpipe.records import SourceObject
from imgpipe.settings import S3Settings
from imgpipe.storage import source_list as module
from imgpipe.storage.comparison import Comparison
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_client import s3_client
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.source_list import ListWalk
from imgpipe.storage.walk import Position

NO_S3 = S3Settings()
ROWS = [("b/2.png", 20, "e2"), ("a.png", 10, "e1"), ("c d.png", 30, "e3")]
WANTED = [
    SourceObject("a.png", 10, "e1"),
    SourceObject("b/2.png", 20, "e2"),
    SourceObject("c d.png", 30, "e3"),
]


def walked(walk: ListWalk, budget: int = 1000) -> list[SourceObject]:
    """Everything, in scans of ``budget`` sources."""
    found: list[SourceObject] = []
    position: Position | None = Position()
    while position is not None:
        for window in walk.windows(position, budget):
            found += window.listed
            position = window.next
    return found


def write_parquet(path: Path, rows: list[tuple[str, int, str]], names: tuple[str, str, str]) -> str:
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    "names", [("key", "size", "etag"), ("Key", "Size", "ETag"), ("key", "size", "e_tag")]
)
def test_parquet_lists_are_read_and_sorted(tmp_path: Path, names: tuple[str, str, str]) -> None:
    url = write_parquet(tmp_path / "list.parquet", ROWS, names)
    assert walked(ListWalk(url, MemoryStore(), NO_S3, complete=True)) == WANTED


@pytest.mark.parametrize("name", ["list.csv", "list.csv.gz"])
def test_csv_lists_keep_their_text(tmp_path: Path, name: str) -> None:
    text = "\n".join(["key,size,etag", '00123.png,5,"""12e4"""', "007,6,null"]).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    found = walked(ListWalk(str(path), MemoryStore(), NO_S3, complete=True))
    assert found[0] == SourceObject("00123.png", 5, "12e4")
    assert found[1].key == "007"


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_looks_of_any_size_see_every_row_once(
    tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 2)
    url = write_parquet(tmp_path / "list.parquet", ROWS, ("key", "size", "etag"))
    assert walked(ListWalk(url, MemoryStore(), NO_S3, complete=True), budget) == WANTED


def test_a_changed_list_is_another_walk(tmp_path: Path) -> None:
    url = write_parquet(tmp_path / "list.parquet", ROWS, ("key", "size", "etag"))
    source = MemoryStore()
    first = ListWalk(url, source, NO_S3, complete=True).identity
    assert ListWalk(url, source, NO_S3, complete=True).identity == first
    write_parquet(tmp_path / "list.parquet", ROWS[:2], ("key", "size", "etag"))
    assert ListWalk(url, source, NO_S3, complete=True).identity != first


def test_what_is_wrong_with_a_list_is_said(tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing, match=r"none\.parquet does not exist"):
        ListWalk(str(tmp_path / "none.parquet"), MemoryStore(), NO_S3, complete=True)
    url = write_parquet(tmp_path / "a.parquet", ROWS, ("key", "size", "md5"))
    with pytest.raises(ConfigError, match="expected a column etag"):
        walked(ListWalk(url, MemoryStore(), NO_S3, complete=True))
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(ObjectUnreadable, match=r"b\.parquet"):
        walked(ListWalk(str(tmp_path / "b.parquet"), MemoryStore(), NO_S3, complete=True))
    (tmp_path / "c.csv").write_text("key,size,etag\na.png,1,\n")
    with pytest.raises(ConfigError, match="some are empty"):
        walked(ListWalk(str(tmp_path / "c.csv"), MemoryStore(), NO_S3, complete=True))
    with pytest.raises(ObjectMissing, match="holds no inventory"):
        ListWalk(f"{tmp_path}/", MemoryStore(), NO_S3, complete=True)


def inventory(bucket: str, files: dict[str, bytes], kind: str, schema: str) -> bytes:
    return json.dumps(
        {
            "sourceBucket": bucket,
            "destinationBucket": f"arn:aws:s3:::{bucket}",
            "fileFormat": kind,
            "fileSchema": schema,
            "files": [{"key": key, "size": len(data)} for key, data in files.items()],
        }
    ).encode()


def put(bucket: str, s3: S3Settings, objects: dict[str, bytes]) -> None:
    client: Any = s3_client(s3)
    for key, data in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=data)


SCHEMA = "Bucket, Key, Size, IsLatest, IsDeleteMarker, ETag"


def csv_rows(bucket: str, *rows: tuple[str, int, str, str, str]) -> bytes:
    lines = [f'"{bucket}","{k}","{n}","{latest}","{gone}","{etag}"' for k, n, latest, gone, etag in rows]
    return gzip.compress("\n".join(lines).encode())


@pytest.mark.server
def test_the_newest_inventory_counts_with_its_encoded_names_and_versions(bucket: str, s3: S3Settings) -> None:
    one = csv_rows(
        bucket,
        ("raw/a%2Bb+c.png", 1, "true", "false", "e1"),
        ("raw/old.png", 1, "false", "false", "e0"),
        ("raw/gone.png", 1, "true", "true", "e0"),
        ("elsewhere/x.png", 1, "true", "false", "e0"),
        ("raw/folder/", 0, "true", "false", "e0"),
    )
    two = csv_rows(bucket, ("raw/z.png", 9, "true", "false", "e9"))
    files = {"inv/data/1.csv.gz": one, "inv/data/2.csv.gz": two}
    put(bucket, s3, files)
    put(bucket, s3, {"inv/2026-03-01T01-00Z/manifest.json": b"{}"})
    newest = inventory(bucket, files, "CSV", SCHEMA)
    put(bucket, s3, {"inv/2026-03-02T01-00Z/manifest.json": newest})
    source = S3Store(bucket, "raw", s3_client(s3))
    walk = ListWalk(f"s3://{bucket}/inv/", source, s3, complete=True)
    wanted = [SourceObject("a+b c.png", 1, "e1"), SourceObject("z.png", 9, "e9")]
    assert walked(walk) == wanted
    assert walked(walk, 1) == wanted


@pytest.mark.server
def test_an_inventory_of_another_bucket_or_kind_is_refused(bucket: str, s3: S3Settings) -> None:
    source = S3Store(bucket, "raw", s3_client(s3))
    put(bucket, s3, {"manifest.json": inventory("other-bucket", {"x": b""}, "CSV", SCHEMA)})
    with pytest.raises(ConfigError, match="expected an inventory of"):
        ListWalk(f"s3://{bucket}/manifest.json", source, s3, complete=True)
    put(bucket, s3, {"manifest.json": inventory(bucket, {"x": b""}, "ORC", SCHEMA)})
    with pytest.raises(ConfigError, match="CSV or Parquet, got ORC"):
        ListWalk(f"s3://{bucket}/manifest.json", source, s3, complete=True)
    put(bucket, s3, {"manifest.json": b"{}"})
    with pytest.raises(ObjectUnreadable, match="manifest of an S3 inventory"):
        ListWalk(f"s3://{bucket}/manifest.json", source, s3, complete=True)


@pytest.mark.server
def test_files_that_are_not_in_order_are_told_and_not_taken_for_deletions(
    bucket: str, s3: S3Settings
) -> None:
    files = {
        "inv/1.csv.gz": csv_rows(bucket, ("m.png", 1, "true", "false", "e")),
        "inv/2.csv.gz": csv_rows(bucket, ("a.png", 1, "true", "false", "e")),
    }
    put(bucket, s3, files | {"inv/manifest.json": inventory(bucket, files, "CSV", SCHEMA)})
    walk = ListWalk(f"s3://{bucket}/inv/manifest.json", S3Store(bucket, "", s3_client(s3)), s3, complete=True)
    comparison = Comparison(SealedShards(MemoryStore(), "demo"), walk.left_out)
    first, second = walk.windows(Position(), 100)
    comparison.window(first)
    with pytest.raises(StorageError, match="sort the list by key"):
        comparison.window(second)
