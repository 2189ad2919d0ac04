"""One job, and what it has come to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgpipe.config import Settings
from imgpipe.jobs.request import NAME, told
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.store import ImageStore

#: The data set whose images are jobs.
DATASET = "jobs"


@dataclass(frozen=True, slots=True)
class Job:
    """``id``: its shard and a random token, as in ``00012-1f3a9c0b2d4e5f607182``."""

    id: str
    manifest: ShardManifest

    @property
    def shard(self) -> str:
        return self.manifest.shard

    @property
    def entry(self) -> ManifestEntry:
        return self.manifest.entries[0]

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(json.loads(self.manifest.settings)["actions"])


def answer(
    actions: Sequence[str], rows: Mapping[str, ImageRow], output: ImageStore, base: Settings, uri: str = NAME
) -> dict[str, Any]:
    """What a finished job has come to, from its row of every asset: ``actions_applied``, ``quality``
    (quality.json's object) and ``timings`` (seconds by asset), or ``error`` where there is no picture.

    ``uri``: what messages call the picture."""
    last = list(rows.values())[-1]
    if last.status is Status.ERROR or last.stage_failed not in ("", QUALITY):
        why = last.error_message or "; ".join(last.reasons)
        said = f"{last.error_class or last.status.value}: {why} ({last.stage_failed})"
        return {"error": told(said.replace(uri, NAME), base)}
    seconds = {asset: round(row.total_seconds, 4) for asset, row in rows.items()}
    return {
        "actions_applied": list(actions),
        "quality": json.loads(output.read(last.output_key)),
        "timings": {**seconds, "total": round(sum(seconds.values()), 4)},
    }
