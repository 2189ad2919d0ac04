"""``images.parquet``: the report's table, and what the next report compares itself with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from imgpipe.errors import ObjectMissing
from imgpipe.storage import keys
from imgpipe.storage.parquet import from_parquet, to_parquet
from imgpipe.storage.store import ImageStore

_FACTS = "imgpipe.report"


@dataclass(frozen=True, slots=True)
class ReportArchive:
    """A report's table and the facts that are not columns.

    ``facts``: JSON values; ``created``, ``rows_digest``, ``drift`` (of that report against its own
    predecessor) and ``previous_created``.
    """

    frame: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)


def archive_key(dataset: str) -> str:
    """Where the data set's ``images.parquet`` lies."""
    return keys.report_key(dataset, "images.parquet")


def read_archive(output: ImageStore, dataset: str) -> ReportArchive | None:
    """The report that is there, ``None`` where there is none; raises ObjectUnreadable for a damaged one."""
    key = archive_key(dataset)
    try:
        data = output.read(key)
    except ObjectMissing:
        return None
    table, metadata = from_parquet(data, output.uri(key))
    return ReportArchive(table.to_pandas(), json.loads(metadata.get(_FACTS, "{}")))


def write_archive(output: ImageStore, dataset: str, archive: ReportArchive) -> None:
    """Write, or replace, the data set's ``images.parquet``."""
    import pyarrow as pa

    table = pa.Table.from_pandas(archive.frame, preserve_index=False)
    facts = {**(table.schema.metadata or {}), _FACTS: json.dumps(archive.facts)}
    output.write(archive_key(dataset), to_parquet(table.replace_schema_metadata(facts)), overwrite=True)
