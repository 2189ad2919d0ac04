"""Rows of an unfinished shard, saved once a minute and on every failure, so that little is done twice."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from imgpipe.engines.work import WorkItem
from imgpipe.errors import ObjectMissing, StorageError
from imgpipe.records import ImageRow
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows, write_table

log = logging.getLogger(__name__)

#: How often the rows so far are written, seconds.
JOURNAL_SECONDS = 60.0
#: How often the images in flight are noted, seconds.
NOTE_SECONDS = 1.0


class Journal:
    """The computed rows of one asset's shard; ``tables/unfinished_<asset>/...`` until the table stands.

    Only the next attempt reads it, and keeps those of its rows whose outputs and ``stage_hash`` still hold.
    Beside it lies a note of the images in flight, so that an attempt counts during which the process was
    killed. It is written when the first image begins and then once in :data:`NOTE_SECONDS`: on S3 a request
    for each small image would cost as much as the image. After a process that was killed, each image is noted
    before anything is done with it: one that ends the process within a second is found out the second time.
    """

    def __init__(self, output: ImageStore, asset: str, dataset: str, shard: str) -> None:
        self._output = output
        self._place = (f"unfinished_{asset}", dataset, shard)
        #: Rows that an earlier attempt left and rows added since, by image id.
        self.rows = read_intact_rows(output, *self._place) or {}
        self._on_disk = bool(self.rows)
        self._saved = True
        self._noted_key = keys.in_flight_key(*self._place)
        self._killed = self._read_note()
        self._in_flight: dict[str, tuple[str, int]] = {}
        self._changes = self._noted = 0
        self._changing, self._noting = threading.Lock(), threading.Lock()
        self._written_at = time.monotonic()
        self._ended = threading.Event()

    def counted(self, item: WorkItem) -> WorkItem:
        """The item with the attempts that ended with the process, and a note made when this one begins."""
        row = item.base
        etag, attempts = self._killed.get(row.image_id, ("", 0))
        if etag == row.etag and attempts >= row.attempts:
            row = replace(row, attempts=attempts + 1)
        return replace(item, base=row, begin=partial(self._begin, row))

    def attempts_of_killed(self, image_id: str) -> int:
        """How many attempts at an image there were, where the process ended in the last one; else 0."""
        return self._killed.get(image_id, ("", 0))[1]

    def _begin(self, row: ImageRow) -> None:
        with self._changing:
            self._in_flight[row.image_id] = (row.etag, row.attempts)
            self._changes += 1
        if self._killed or not self._noted:
            self._note(self._changes)

    def _note_until_ended(self) -> None:
        while not self._ended.wait(NOTE_SECONDS):
            try:
                self._note(self._changes)
            except StorageError as exc:
                log.warning("%s: the images in flight could not be noted: %s", self._noted_key, exc)

    def _note(self, changes: int) -> None:
        """Write down what is in flight after so many changes; threads that come together share a writing."""
        with self._noting:
            if self._noted >= changes:
                return
            with self._changing:
                text, noted = json.dumps(self._in_flight), self._changes
            self._output.write(self._noted_key, text.encode(), overwrite=True)
            self._noted = noted

    def _read_note(self) -> dict[str, tuple[str, int]]:
        """(etag, attempts) by image id of what was in flight when an earlier process was killed."""
        try:
            note = json.loads(self._output.read(self._noted_key))
            return {str(image_id): (str(etag), int(count)) for image_id, (etag, count) in note.items()}
        except ObjectMissing:
            return {}
        except (ValueError, TypeError, AttributeError) as exc:
            log.warning("%s: not readable, attempts may be too few: %s", self._noted_key, exc)
            return {}

    def add(self, row: ImageRow) -> None:
        """Note a finished row; write all of them when it is time."""
        self.rows[row.image_id] = row
        with self._changing:
            self._in_flight.pop(row.image_id, None)
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
    def kept(self) -> Iterator[None]:
        """Note what is in flight within the block, and save the rows so far where an error or a request to
        stop ends it."""
        noter = threading.Thread(target=self._note_until_ended, name="imgpipe-journal", daemon=True)
        noter.start()
        try:
            yield
        except BaseException:
            try:
                self.save()
                self._note(self._changes)
            except StorageError as exc:  # often the error under way; that one is raised
                log.warning("%s: the rows so far could not be saved: %s", "/".join(self._place), exc)
            raise
        finally:
            self._ended.set()
            noter.join()

    def discard(self) -> None:
        """Delete the journal: the table has been written."""
        if self._on_disk:
            self._output.delete(keys.table_key(*self._place))
        if self._noted or self._killed:
            self._output.delete(self._noted_key)
