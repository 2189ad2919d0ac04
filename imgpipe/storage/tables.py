"""One row per input image, as Parquet: written last, so that a table's presence is the commit.

Columns, always in this order: the fixed ones of :data:`FIXED_COLUMNS`, ``seconds_<step>`` by name, the
metrics by name. A metric's column is its plain name (``metric_<name>`` where another column has that
name). The file's key-value metadata holds the caller's facts under their own names, and under ``imgpipe.``
what makes reading exact.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imgpipe.errors import ConfigError, ObjectDamaged, ObjectMissing, ObjectUnreadable
from imgpipe.records import ImageRow, ModelUse, Status
from imgpipe.storage import keys
from imgpipe.storage.parquet import from_parquet, printable, read_footer, to_parquet
from imgpipe.storage.store import ImageStore

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
SCHEMA_VERSION = "1"
#: Name of the fact which manifest a table was made for.
MANIFEST_DIGEST = "manifest_digest"
#: In place of a manifest's digest: the table holds rows that are not up to date.
OUTDATED = "outdated"

_TEXT = ("source_key", "image_id", "etag", "status", "stage_failed", "error_class", "error_message")
_DIGESTS = ("input_sha256", "output_sha256", "stage_hash", "output_key", "output_store")
_PICTURE = ("width", "height", "bit_depth", "format", "size_bytes")
#: Column -> field of :class:`~imgpipe.records.ModelUse`; all null where no model was used.
_MODEL = {
    "model_name": "name",
    "model_backend": "backend",
    "model_sha256": "sha256",
    "model_precision": "precision",
    "model_device": "device",
    "fallback_reason": "fallback_reason",
}
#: The columns that every table has, an empty one too.
FIXED_COLUMNS = (*_TEXT, "reasons", "attempts", *_DIGESTS, *_PICTURE, *_MODEL, "details")
#: How the files of an image begin in ``details``.
_FILES = '"files": '
_INTEGERS = {"attempts", "width", "height", "bit_depth", "size_bytes"}
#: Columns that are the row's field of the same name.
_PLAIN = tuple(
    name for name in FIXED_COLUMNS if name not in _MODEL and name not in ("status", "reasons", "details")
)
#: Metadata that pandas and Arrow write.
_FOREIGN = ("pandas", "ARROW:schema")


def write_table(
    store: ImageStore,
    asset: str,
    dataset: str,
    shard: str,
    rows: Sequence[ImageRow],
    *,
    meta: Mapping[str, str],
) -> None:
    """Write, or replace, an asset's table of one shard. No rows make a valid table with all fixed columns.

    A metric or time that is ``None`` counts as not measured and is read back as absent; NaN and infinity
    stay. Values in ``details`` must be JSON's (numpy numbers and arrays are converted, tuples become lists).
    """
    for name in meta:
        if name.startswith("imgpipe.") or name in _FOREIGN:
            raise ConfigError(f"table metadata: expected a name of your own, {name!r} is reserved")
    table = _to_arrow(rows, meta)
    store.write(keys.table_key(asset, dataset, shard), to_parquet(table), overwrite=True)


def read_table(
    store: ImageStore, asset: str, dataset: str, shard: str
) -> tuple[list[ImageRow], dict[str, str]]:
    """The rows, in the order they were written, and the caller's metadata; raises ObjectMissing."""
    key = keys.table_key(asset, dataset, shard)
    table, facts = from_parquet(store.read(key), store.uri(key))
    _require_version(facts, store.uri(key))
    names = json.loads(facts["imgpipe.columns"])
    return [_row(values, names) for values in table.to_pylist()], _own(facts)


def read_rows(store: ImageStore, asset: str, dataset: str, shard: str) -> dict[str, ImageRow] | None:
    """image_id -> row, in the order they were written; ``None`` where there is no table."""
    try:
        rows, _ = read_table(store, asset, dataset, shard)
    except ObjectMissing:
        return None
    return {row.image_id: row for row in rows}


def read_intact_rows(store: ImageStore, asset: str, dataset: str, shard: str) -> dict[str, ImageRow] | None:
    """As :func:`read_rows`; ``None``, with a warning, for a damaged table too: its rows are made again."""
    try:
        return read_rows(store, asset, dataset, shard)
    except ObjectDamaged as exc:
        _LOG.warning("%s; its rows are made again", exc)
        return None


def read_files(
    store: ImageStore, asset: str, dataset: str, shard: str, *, several: bool
) -> dict[str, int | None]:
    """key -> size in bytes (None: not recorded) of every file in the output that the table's rows name.

    ``several``: an image may have other files than its main one. They stand in ``details``, of which only
    that part is parsed: it takes a tenth of the time.
    """
    key = keys.table_key(asset, dataset, shard)
    columns = ["status", "output_key", "size_bytes", *(["details"] if several else [])]
    table, _ = from_parquet(store.read(key), store.uri(key), columns)
    files: dict[str, int | None] = {}
    for row in table.to_pylist():
        if row["status"] in (Status.OK, Status.REJECTED) and row["output_key"]:
            start = row["details"].rfind(_FILES) if several else -1
            if start >= 0:
                named, _ = json.JSONDecoder().raw_decode(row["details"], start + len(_FILES))
                files |= dict.fromkeys(named.values())
            files[row["output_key"]] = row["size_bytes"]
    return files


def mark_outdated(store: ImageStore, asset: str, dataset: str, shard: str) -> None:
    """Have the next run go through the table's rows, whatever it was made from; the rows stay."""
    rows, meta = read_table(store, asset, dataset, shard)
    write_table(store, asset, dataset, shard, rows, meta={**meta, MANIFEST_DIGEST: OUTDATED})


def read_standing(
    store: ImageStore, assets: Iterable[str], dataset: str, shard: str
) -> dict[str, dict[str, ImageRow]]:
    """asset -> image_id -> row, of those tables of a shard that exist already and are not damaged."""
    found = {asset: read_intact_rows(store, asset, dataset, shard) for asset in assets}
    return {asset: rows for asset, rows in found.items() if rows is not None}


def read_meta(store: ImageStore, asset: str, dataset: str, shard: str) -> dict[str, str] | None:
    """The caller's metadata of a table, ``None`` where there is no table."""
    key = keys.table_key(asset, dataset, shard)
    try:
        data = store.read(key)
    except ObjectMissing:
        return None
    _, facts = read_footer(data, store.uri(key))
    _require_version(facts, store.uri(key))
    return _own(facts)


def table_exists(store: ImageStore, asset: str, dataset: str, shard: str) -> bool:
    """Whether the asset's table of this shard was committed."""
    return store.exists(keys.table_key(asset, dataset, shard))


def rows_digest(rows: Sequence[ImageRow]) -> str:
    """sha256 (hex) over what the rows made: image, status, output and stage hash, in any order of rows.

    Equal results have equal digests: quality.json holds times, so its findings count in place of its bytes.
    """

    def made(row: ImageRow) -> Any:
        return [sorted(row.metrics.items()), row.reasons] if row.format == "JSON" else row.output_sha256

    ordered = sorted(rows, key=lambda row: row.image_id)
    lines = [[row.image_id, row.status.value, made(row), row.stage_hash] for row in ordered]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _to_arrow(rows: Sequence[ImageRow], meta: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for name in FIXED_COLUMNS:
        if name in _INTEGERS:
            columns[name] = pa.array([getattr(row, name) for row in rows], pa.int64())
        elif name == "reasons":
            texts = [[printable(text) for text in row.reasons] for row in rows]
            columns[name] = pa.array(texts, pa.list_(pa.string()))
        else:
            columns[name] = pa.array([_text_value(row, name) for row in rows], pa.string())
    names = _measured_columns(rows)
    for field, mapping in names.items():
        for measured, column in mapping.items():
            values = [_number(getattr(row, field).get(measured)) for row in rows]
            columns[column] = pa.array(values, pa.float64())
    facts = {
        **meta,
        "imgpipe.schema_version": SCHEMA_VERSION,
        "imgpipe.columns": json.dumps(names),
    }
    return pa.table(columns).replace_schema_metadata(facts)


def _text_value(row: ImageRow, column: str) -> str | None:
    if column in _MODEL:
        return None if row.model is None else printable(getattr(row.model, _MODEL[column]))
    if column == "details":
        return json.dumps(dict(row.details), default=plain)
    if column == "status":
        return row.status.value
    return printable(getattr(row, column))


def _measured_columns(rows: Sequence[ImageRow]) -> dict[str, dict[str, str]]:
    """field -> measured name -> column: ``seconds_<step>``, and metrics under names that are still free."""
    steps = sorted({name for row in rows for name, value in row.seconds.items() if value is not None})
    metrics = sorted({name for row in rows for name, value in row.metrics.items() if value is not None})
    seconds = {step: f"seconds_{step}" for step in steps}
    reserved = {*FIXED_COLUMNS, *seconds.values(), "shard"}
    taken = set(metrics)
    columns = {}
    for name in metrics:
        column = name
        while column in reserved or (column != name and column in taken):
            column = f"metric_{column}"
        taken.add(column)
        columns[name] = column
    return {"seconds": seconds, "metrics": columns}


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def plain(value: Any) -> Any:
    """numpy's numbers and arrays as JSON has them, without importing numpy; a ``default`` of :mod:`json`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"details: expected JSON values, got {type(value).__name__}: {value!r}")


def _row(values: dict[str, Any], names: Mapping[str, Mapping[str, str]]) -> ImageRow:
    if "output_store" not in values:  # Older tables: only raw_images named a key of the source.
        values["output_store"] = "source" if values["output_key"] == values["source_key"] else "output"
    measured: dict[str, Any] = {
        field: {name: values[column] for name, column in mapping.items() if values[column] is not None}
        for field, mapping in names.items()
    }
    model = {field: values[column] for column, field in _MODEL.items()}
    return ImageRow(
        **{name: values[name] for name in _PLAIN},
        **measured,
        status=Status(values["status"]),
        reasons=tuple(values["reasons"]),
        model=None if model["name"] is None else ModelUse(**model),
        details=json.loads(values["details"]),
    )


def _own(facts: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in facts.items()
        if not name.startswith("imgpipe.") and name not in _FOREIGN
    }


def _require_version(facts: Mapping[str, str], uri: str) -> None:
    found = facts.get("imgpipe.schema_version")
    if found != SCHEMA_VERSION:
        raise ObjectUnreadable(
            f"{uri}: expected a table of version {SCHEMA_VERSION}, found {found}; delete it and run again"
        )
