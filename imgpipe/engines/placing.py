"""Keeps the pictures of rejected images apart: a folder of results holds good ones only.

A stage writes what it rejects below ``rejected/``. The last stage's status is the verdict on the image, so it
decides about the files of all stages before: those of a rejected image move below ``rejected/``, those of an
image that is good again (a person accepted it, or the settings changed) move back, and the tables name the
new keys.

The files move before the last stage's table is written, so the next run repeats the step after a crash. Files
are copied first, then the tables are written, then the old copies are deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from imgpipe.errors import ObjectMissing
from imgpipe.records import ImageRow, Status
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_table, write_table

_THREADS = 8


def place_by_verdict(
    output: ImageStore,
    dataset: str,
    shard: str,
    verdicts: Sequence[ImageRow],
    upstream: Mapping[str, Mapping[str, ImageRow]],
) -> None:
    """Move the files that ``upstream`` (asset -> image -> row) names to where the verdicts say.

    ``verdicts``: the last stage's rows. Images that are neither ok nor rejected are left alone, and so is a
    file that is not there: its own stage makes it again.
    """
    rejected = {
        row.image_id: row.status is Status.REJECTED
        for row in verdicts
        if row.status in (Status.OK, Status.REJECTED)
    }
    outdated: list[str] = []
    with ThreadPoolExecutor(_THREADS, "imgpipe-placing") as pool:
        for asset, table in upstream.items():
            concerned = [row for row in table.values() if row.image_id in rejected and row.files]
            placed = pool.map(lambda row: _copied(output, row, rejected[row.image_id]), concerned)
            moved = {new.image_id: new for old, new in zip(concerned, placed, strict=True) if new is not old}
            if moved:
                rows, meta = read_table(output, asset, dataset, shard)
                current = [moved.get(row.image_id, row) for row in rows]
                write_table(output, asset, dataset, shard, current, meta=meta)
            for row in concerned:
                before, now = (set(one.files.values()) for one in (row, moved.get(row.image_id, row)))
                if rejected[row.image_id]:  # A crash before deleting leaves the good copy.
                    before |= {keys.placed_key(key, rejected=False) for key in now}
                outdated += before - now
        list(pool.map(output.delete, outdated))


def _copied(output: ImageStore, row: ImageRow, rejected: bool) -> ImageRow:
    """The row with its files at their new keys, once they are copied; the row itself where nothing moves."""
    moved = {kind: keys.placed_key(key, rejected=rejected) for kind, key in row.files.items()}
    if moved == row.files:
        return row
    try:
        for kind, key in moved.items():
            output.write(key, output.read(row.files[kind]), overwrite=True)
    except ObjectMissing:
        return row
    return replace(
        row,
        output_key=keys.placed_key(row.output_key, rejected=rejected),
        details={**row.details, "files": moved},
    )
