"""Rows of an unfinished shard, written down as they come, so that what is done is not done again."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

from imgpipe.engines.work import WorkItem
from imgpipe.errors import ObjectUnreadable, StorageError
from imgpipe.records import ImageRow
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import plain, read_intact_rows

log = logging.getLogger(__name__)

#: How often the images in flight are noted, and rows without files written down, seconds.
NOTE_SECONDS = 1.0
#: Rows of one object, which is written again with each of them: about 1 KB a row.
_SEGMENT_ROWS = 64


class Journal:
    """The computed rows of one asset's shard; ``tables/unfinished_<asset>/...`` until the table stands.

    Only the next attempt reads it, and keeps those of its rows whose outputs and ``stage_hash`` still hold.
    The thread that has written an image's files writes its row down before it takes up another image, so that
    a process that is killed loses the images in flight and no others. Rows without files, as of images that
    are only read, follow within :data:`NOTE_SECONDS`.

    Beside the rows lies a note of the images in flight, so that an attempt counts during which the process
    was killed. It is written when the first image begins and then once in :data:`NOTE_SECONDS`: on S3 a
    request for each small image would cost as much as the image. After a process that was killed, each image
    is noted before anything is done with it: one that ends the process within a second is found out the
    second time.
    """

    def __init__(self, output: ImageStore, asset: str, dataset: str, shard: str) -> None:
        self._output = output
        self._place = (f"unfinished_{asset}", dataset, shard)
        self._noted_key = keys.in_flight_key(*self._place)
        listed = (item.key for item in output.list(keys.journal_prefix(*self._place)))
        self._on_disk = {key for key in listed if keys.place_of(key) == (dataset, shard)}
        #: Rows that an earlier attempt left and rows added since, by image id.
        self.rows: dict[str, ImageRow] = {}
        if keys.table_key(*self._place) in self._on_disk:  # As earlier versions left them.
            self.rows |= read_intact_rows(output, *self._place) or {}
        for key in sorted(self._on_disk):
            if "-rows-" in key:
                self.rows |= self._read_segment(key)
        self._segment = len(self._on_disk)
        while keys.journal_key(*self._place, self._segment) in self._on_disk:
            self._segment += 1
        #: Rows of the segment under way, as lines; how many were added and written down in all.
        self._lines: list[str] = []
        self._added = self._written = 0
        self._killed = self._read_note()
        self._in_flight: dict[str, tuple[str, int]] = {}
        self._changes = self._noted = 0
        self._changing, self._noting, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._ended = threading.Event()

    def counted(self, item: WorkItem) -> WorkItem:
        """The item with the attempts that ended with the process; it is noted when it begins, its row when it
        ends."""
        row = item.base
        etag, attempts = self._killed.get(row.image_id, ("", 0))
        if etag == row.etag and attempts >= row.attempts:
            row = replace(row, attempts=attempts + 1)
        return replace(item, base=row, begin=partial(self._begin, row), end=self.add)

    def attempts_of_killed(self, image_id: str) -> int:
        """How many attempts at an image there were, where the process ended in the last one; else 0."""
        return self._killed.get(image_id, ("", 0))[1]

    def add(self, row: ImageRow, *, at_once: bool = True) -> None:
        """Write down a finished row, once; threads that come together share a writing.

        ``at_once`` false: within :data:`NOTE_SECONDS`, with all that come meanwhile.
        """
        with self._changing:
            if self.rows.get(row.image_id) is row:
                return
            self.rows[row.image_id] = row
            self._in_flight.pop(row.image_id, None)
            self._lines.append(json.dumps(asdict(row), default=plain))
            self._added += 1
            mine = self._added
        if row.files and at_once:
            self._write_down(mine)

    def _write_down(self, count: int) -> None:
        """Have the first ``count`` rows written."""
        with self._writing:
            if self._written >= count:
                return
            with self._changing:
                lines, added = list(self._lines), self._added
            key = keys.journal_key(*self._place, self._segment)
            self._on_disk.add(key)
            self._output.write(key, "\n".join(lines).encode(), overwrite=True)
            self._written = added
            if len(lines) >= _SEGMENT_ROWS:
                self._segment += 1
                with self._changing:
                    del self._lines[: len(lines)]

    def _read_segment(self, key: str) -> dict[str, ImageRow]:
        try:
            lines = self._output.read(key).decode().splitlines()
            rows = [ImageRow.from_dict(json.loads(line)) for line in lines]
        except (ObjectUnreadable, ValueError, TypeError, KeyError) as exc:
            log.warning("%s: not readable, its rows are made again: %s", self._output.uri(key), exc)
            return {}
        return {row.image_id: row for row in rows}

    def _begin(self, row: ImageRow) -> None:
        with self._changing:
            self._in_flight[row.image_id] = (row.etag, row.attempts)
            self._changes += 1
        if self._killed or not self._noted:
            self._note(self._changes)

    def _note_until_ended(self) -> None:
        while not self._ended.wait(NOTE_SECONDS):
            try:
                self._write_down(self._added)
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
            self._on_disk.add(self._noted_key)
            self._output.write(self._noted_key, text.encode(), overwrite=True)
            self._noted = noted

    def _read_note(self) -> dict[str, tuple[str, int]]:
        """(etag, attempts) by image id of what was in flight when an earlier process was killed."""
        if self._noted_key not in self._on_disk:
            return {}
        try:
            note = json.loads(self._output.read(self._noted_key))
            return {str(image_id): (str(etag), int(count)) for image_id, (etag, count) in note.items()}
        except (ValueError, TypeError, AttributeError) as exc:
            log.warning("%s: not readable, attempts may be too few: %s", self._noted_key, exc)
            return {}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note what is in flight within the block, and write down the rows so far where an error or a request
        to stop ends it."""
        noter = threading.Thread(target=self._note_until_ended, name="imgpipe-journal", daemon=True)
        noter.start()
        try:
            yield
        except BaseException:
            try:
                self._write_down(self._added)
                self._note(self._changes)
            except StorageError as exc:  # often the error under way; that one is raised
                log.warning("%s: the rows so far could not be saved: %s", "/".join(self._place), exc)
            raise
        finally:
            self._ended.set()
            noter.join()

    def discard(self) -> None:
        """Delete the journal: the table has been written."""
        for key in sorted(self._on_disk):
            self._output.delete(key)
