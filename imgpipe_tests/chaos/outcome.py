"""What a run has made, in a form in which two runs can be compared."""

from __future__ import annotations

import hashlib
from typing import Any

from imgpipe.engines.fsck import Depth, Finding, check
from imgpipe.engines.survey import survey
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_table

Rows = dict[tuple[str, str], list[Any]]


def rows_of(output: ImageStore) -> Rows:
    """(asset, source key) -> what its row says, but not how and when it was made. One row for each source and
    table."""
    rows: Rows = {}
    for objects in survey(output):
        for asset in objects.tables:
            for row in read_table(output, asset, objects.dataset, objects.shard)[0]:
                place = (asset, row.source_key)
                assert place not in rows, place
                made = "" if row.format == "JSON" else row.output_sha256  # quality.json holds times
                # The last digit of some scores follows where arrays lie in memory.
                scores = [f"{name} {value:.9g}" for name, value in sorted(row.metrics.items())]
                facts = [row.image_id, row.status, row.input_sha256, made, row.stage_hash, row.output_key]
                rows[place] = [*facts, dict(row.files), scores, row.reasons, row.error_class]
    return rows


def pictures_of(output: ImageStore) -> dict[str, str]:
    """Key -> sha256 of every picture that a stage made."""
    return {
        key: hashlib.sha256(output.read(key)).hexdigest()
        for objects in survey(output)
        for key in objects.files
        if not key.endswith(".json")
    }


def faults_of(output: ImageStore) -> list[Finding]:
    """What ``fsck --deep`` finds."""
    return [finding for one in check(output, depth=Depth.DEEP) for finding in one.findings]
