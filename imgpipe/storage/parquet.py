"""Arrow tables to Parquet bytes and back; the bytes are an object of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imgpipe.errors import ObjectDamaged

if TYPE_CHECKING:
    import pyarrow as pa

#: Files from this size on are read by several threads.
_THREADED_BYTES = 2**20


def to_parquet(table: pa.Table) -> bytes:
    """The file's bytes, each page with a CRC32; equal tables make equal bytes with one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())


def from_parquet(data: bytes, uri: str, columns: list[str] | None = None) -> tuple[pa.Table, dict[str, str]]:
    """The table and its key-value metadata; raises :class:`ObjectDamaged` naming ``uri``."""
    threads = len(data) >= _THREADED_BYTES
    # Half of what `read_table` takes for a few rows: that looks for a data set of files first.
    table = _read(lambda file: _opened(file).read(columns, use_threads=threads), data, uri)
    return table, _texts(table.schema.metadata)


def _opened(file: pa.BufferReader) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, page_checksum_verification=True)


def read_footer(data: bytes, uri: str) -> tuple[int, dict[str, str]]:
    """Number of rows and key-value metadata without reading the rows; errors as in :func:`from_parquet`."""
    import pyarrow.parquet as pq

    footer = _read(pq.read_metadata, data, uri)
    return footer.num_rows, _texts(footer.metadata)


def printable(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates (messages about odd file names) are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _read(reader: Callable[[pa.BufferReader], Any], data: bytes, uri: str) -> Any:
    import pyarrow as pa

    try:
        return reader(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise ObjectDamaged(f"{uri}: expected a Parquet file ({exc}); delete it and run again") from exc


def _texts(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}
