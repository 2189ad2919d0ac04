"""Sources from a list in place of a listing: a Parquet or CSV file, or an S3 inventory.

A plain list has the columns ``key`` (below the source), ``size`` and ``etag``, under any of the names in
:data:`_NAMES`; a CSV file has a header and may end in ``.gz``. An inventory is its ``manifest.json`` with
files in Parquet or CSV (https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html), or the
folder, ending in ``/``, that holds the dated ones: the newest counts. It must carry ``Size`` and ``ETag``.
Keys must ascend from file to file; within a file they are sorted here. One file is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from imgpipe.errors import ConfigError, ObjectMissing, ObjectUnreadable
from imgpipe.records import SourceObject
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store
from imgpipe.storage.parquet import from_parquet
from imgpipe.storage.store import ImageStore, LeftOut, without_hidden
from imgpipe.storage.walk import WINDOW, Position, Window

if TYPE_CHECKING:
    import pyarrow as pa

#: Column -> the names that it has in lists.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "key": ("key", "Key", "source_key"),
    "size": ("size", "Size", "size_bytes"),
    "etag": ("etag", "ETag", "e_tag"),
}
_LATEST = ("is_latest", "IsLatest")
_DELETED = ("is_delete_marker", "IsDeleteMarker")


@dataclass(frozen=True, slots=True)
class _File:
    """``columns``: names of a CSV file without a header; ``strip``: what every key starts with."""

    store: ImageStore
    key: str
    columns: tuple[str, ...] | None = None
    strip: str = ""

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)


class ListWalk:
    """The sources that a list names. ``complete``: what it does not name was deleted."""

    changes_by_itself = False

    def __init__(self, url: str, source: ImageStore, s3: S3Settings, *, complete: bool) -> None:
        self._complete = complete
        self.left_out = LeftOut()
        folder, _, name = url.rpartition("/")
        store = open_store(folder or ".", s3)
        found = _newest_manifest(store) if not name else _described(store, name)
        self.identity = f"{store.uri(found.key)}@{found.etag}|{source.url}"
        if found.key.endswith(".json"):
            self._files = _inventory_files(store, found.key, source, s3)
        else:
            self._files = [_File(store, found.key)]

    def windows(self, start: Position, budget: float) -> Iterator[Window]:
        low = start.after
        for part in range(start.part, len(self._files)):
            objects = _read(self._files[part])
            row = start.row if part == start.part else 0
            last_file = part + 1 == len(self._files)
            while True:
                if budget <= 0:
                    return
                chunk = objects.slice(row, int(min(WINDOW, budget)))
                row += chunk.num_rows
                budget -= max(chunk.num_rows, 1)
                ended = row >= objects.num_rows
                listed = [SourceObject(row["key"], row["size"], row["etag"]) for row in chunk.to_pylist()]
                high = None if ended and last_file else listed[-1].key if listed else low
                shown = list(without_hidden(listed, self.left_out))
                if high is None or listed:
                    yield Window(shown, low, high, "", self._complete, self._next(part, high, row, ended))
                low = high
                if ended:
                    break

    def _next(self, part: int, high: str | None, row: int, ended: bool) -> Position | None:
        if not ended:
            return Position(part, high, row)
        return Position(part + 1, high) if part + 1 < len(self._files) else None


def _described(store: ImageStore, name: str) -> SourceObject:
    for found in store.list(name):
        if found.key == name:
            return found
    raise ObjectMissing(f"automation.source_list: {store.uri(name)} does not exist; check its address")


def _newest_manifest(store: ImageStore) -> SourceObject:
    newest = max(
        (found for found in store.list() if found.key.endswith("manifest.json")),
        key=lambda found: found.key,
        default=None,
    )
    if newest is None:
        raise ObjectMissing(
            f"automation.source_list: {store.url} holds no inventory's manifest.json; check the folder"
        )
    return newest


def _inventory_files(store: ImageStore, key: str, source: ImageStore, s3: S3Settings) -> list[_File]:
    uri = store.uri(key)
    try:
        value = json.loads(store.read(key))
        kind = str(value["fileFormat"]).upper()
        bucket = str(value["destinationBucket"]).rpartition(":")[2]
        names = [str(item["key"]) for item in value["files"]]
        schema = tuple(name.strip() for name in str(value["fileSchema"]).split(","))
        listed = str(value["sourceBucket"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ObjectUnreadable(f"{uri}: expected the manifest of an S3 inventory: {exc!r}") from exc
    if kind not in ("CSV", "PARQUET"):
        raise ConfigError(f"{uri}: expected an inventory in CSV or Parquet, got {kind}; configure it so")
    place = f"s3://{listed}"
    if source.url != place and not source.url.startswith(place + "/"):
        raise ConfigError(f"{uri}: expected an inventory of {source.url}, it lists {place}")
    if not names:
        raise ObjectUnreadable(f"{uri}: this inventory names no files; wait for the next one")
    inside = source.url.removeprefix(place).strip("/")
    files = open_store(f"s3://{bucket}", s3)
    columns = schema if kind == "CSV" else None
    return [_File(files, name, columns, f"{inside}/" if inside else "") for name in names]


def _read(file: _File) -> pa.Table:
    """Columns key, size, etag, sorted by key, without versions that are not the latest."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _load(file)
    for marks, wanted in ((_LATEST, "true"), (_DELETED, "false")):
        column = _find(table, marks)
        if column is not None:
            said = pc.utf8_lower(pc.cast(table.column(column), pa.string()))
            table = table.filter(pc.equal(said, wanted))
    chosen = {}
    for name, names in _NAMES.items():
        column = _find(table, names)
        if column is None:
            raise ConfigError(
                f"{file.uri}: expected a column {' or '.join(names)}, found {', '.join(table.column_names)}"
            )
        chosen[name] = pc.cast(table.column(column), pa.int64() if name == "size" else pa.string())
    chosen["etag"] = pc.utf8_trim(chosen["etag"], '"')
    if file.columns is not None:
        decoded = [unquote_plus(key) for key in chosen["key"].to_pylist()]
        chosen["key"] = pa.chunked_array([pa.array(decoded, pa.string())])
    result = pa.table(chosen)
    if file.strip:
        result = result.filter(pc.starts_with(result.column("key"), file.strip))
        cut = pc.utf8_slice_codeunits(result.column("key"), len(file.strip))
        result = result.set_column(0, "key", cut)
    folder_or_empty = pc.match_substring_regex(result.column("key"), "(^|/)$")
    result = result.filter(pc.invert(folder_or_empty))
    if any(result.column(name).null_count for name in chosen):
        raise ConfigError(f"{file.uri}: expected a key, a size and an etag in every row; some are empty")
    return result.sort_by("key")


def _load(file: _File) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    data = file.store.read(file.key)
    if file.columns is None and not file.key.endswith((".csv", ".csv.gz")):
        return from_parquet(data, file.uri)[0]
    names = list(file.columns) if file.columns else None
    try:
        stream = pa.input_stream(
            pa.BufferReader(data), compression="gzip" if file.key.endswith(".gz") else None
        )
        return pyarrow.csv.read_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(column_names=names),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=_as_text(names), null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise ObjectUnreadable(f"{file.uri}: expected a CSV file: {exc}") from exc


def _as_text(names: list[str] | None) -> dict[str, Any]:
    """A key that looks like a number, or an etag like 12e4, is text."""
    import pyarrow as pa

    return {name: pa.string() for name in names or [n for group in _NAMES.values() for n in group]}


def _find(table: pa.Table, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.column_names), None)
