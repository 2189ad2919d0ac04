"""Arrow tables to Parquet bytes and back; the bytes are an object of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgpipe.errors import ObjectUnreadable

if TYPE_CHECKING:
    import pyarrow as pa


def to_parquet(table: pa.Table) -> bytes:
    """The file's bytes; equal tables make equal bytes with one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def from_parquet(data: bytes, uri: str) -> pa.Table:
    """The table; raises :class:`ObjectUnreadable` naming ``uri`` where the bytes are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise _unreadable(uri, exc) from exc


def metadata_of(data: bytes, uri: str) -> dict[str, str]:
    """The key-value metadata alone, without reading the rows; errors as in :func:`from_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return metadata_dict(pq.read_schema(pa.BufferReader(data)))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise _unreadable(uri, exc) from exc


def metadata_dict(schema: pa.Schema) -> dict[str, str]:
    """A schema's key-value metadata as text."""
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}


def printable(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates (messages about odd file names) are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unreadable(uri: str, exc: Exception) -> ObjectUnreadable:
    return ObjectUnreadable(f"{uri}: expected a Parquet file ({exc}); delete it and run again")
