"""Rows of an unfinished shard, saved once a minute and on every failure, so that little is done twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from imgpipe.errors import StorageError
from imgpipe.records import ImageRow
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows, write_table

log = logging.getLogger(__name__)

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
        self._saved = True
        self._written_at = time.monotonic()

    def add(self, row: ImageRow) -> None:
        """Note a finished row; write all of them when it is time."""
        self.rows[row.image_id] = row
        self._saved = False
        if time.monotonic() - self._written_at >= JOURNAL_SECONDS:
            self.save()

    def save(self) -> None:
        """Write all rows so far, where some are not written yet."""
        if self._saved:
            return
        write_table(self._output, *self._place, list(self.rows.values()), meta={})
        self._on_disk = self._saved = True
        self._written_at = time.monotonic()

    @contextmanager
    def saved_on_failure(self) -> Iterator[None]:
        """Save the rows so far where the block is left by an error or a request to stop."""
        try:
            yield
        except BaseException:
            try:
                self.save()
            except StorageError as exc:  # often the error under way; that one is raised
                log.warning("%s: the rows so far could not be saved: %s", "/".join(self._place), exc)
            raise

    def discard(self) -> None:
        """Delete the journal: the table has been written."""
        if self._on_disk:
            self._output.delete(keys.table_key(*self._place))
