"""Rows of an unfinished shard, saved once a minute so that a crash does not lose the whole shard."""

from __future__ import annotations

import time

from imgpipe.records import ImageRow
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows, write_table

#: How often the rows so far are written, seconds.
JOURNAL_SECONDS = 60.0


class Journal:
    """The computed rows of one asset's shard; ``tables/unfinished_<asset>/...`` until the table stands.

    Only the next attempt reads it, and keeps those of its rows whose outputs and ``stage_hash`` still hold.
    """

    def __init__(self, output: ImageStore, asset: str, dataset: str, shard: str) -> None:
        self._output = output
        self._place = (f"unfinished_{asset}", dataset, shard)
        #: Rows that an earlier attempt left and rows added since, by image id.
        self.rows = read_intact_rows(output, *self._place) or {}
        self._on_disk = bool(self.rows)
        self._written_at = time.monotonic()

    def add(self, row: ImageRow) -> None:
        """Note a finished row; write all of them when it is time."""
        self.rows[row.image_id] = row
        if time.monotonic() - self._written_at >= JOURNAL_SECONDS:
            write_table(self._output, *self._place, list(self.rows.values()), meta={})
            self._on_disk = True
            self._written_at = time.monotonic()

    def discard(self) -> None:
        """Delete the journal: the table has been written."""
        if self._on_disk:
            self._output.delete(keys.table_key(*self._place))
