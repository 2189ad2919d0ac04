"""Rows of deleted sources: they keep what was known, so that a source that comes back costs nothing."""

from __future__ import annotations

from dataclasses import asdict, replace

from imgpipe.records import ImageRow, Status

#: Name in ``details`` of the row as it was before the deletion.
BEFORE = "before_deletion"


def as_deleted(base: ImageRow, before: ImageRow | None) -> ImageRow:
    """The row of a deleted source: the digests of ``before``, its row until then, and the whole of it in
    ``details``. Scores and files are not repeated in their own columns, since nothing stands behind them."""
    row = replace(base, status=Status.SKIPPED, reasons=("the source was deleted; earlier outputs are kept",))
    if before is None or before.status is Status.SKIPPED:
        return row
    return replace(
        row,
        input_sha256=before.input_sha256,
        output_sha256=before.output_sha256,
        stage_hash=before.stage_hash,
        details={BEFORE: asdict(before)},
    )


def restored(row: ImageRow) -> ImageRow:
    """The row as it was before its source was deleted; any other row unchanged."""
    if row.status is not Status.SKIPPED or BEFORE not in row.details:
        return row
    return ImageRow.from_dict(row.details[BEFORE])
