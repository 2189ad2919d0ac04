"""A data set whose shards are computed by the engine alone, without Dagster, to save time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import run_shard
from imgpipe.engines.status import fingerprints, shard_statuses
from imgpipe.records import ImageRow
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import Stores, open_stores
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.storage.manifests import read_rows_of

#: Stages that need no weights and take milliseconds.
QUICK: dict[str, Any] = {
    "dataset": "art",
    "shard_size": 2,
    "rembg.model": "classical",
    "upscale.model": "lanczos",
    "upscale.scale": 2,
    "isolation.mode": "none",
}


@dataclass
class Space:
    """``computed``: (asset, source key) of every image that the last :meth:`run` computed, sorted."""

    source: str
    output: str
    options: dict[str, Any] = field(default_factory=dict)
    computed: list[tuple[str, str]] = field(default_factory=list)

    def settings(self, **options: Any) -> Settings:
        place = {"source": self.source, "output": self.output}
        return load_settings({**place, **QUICK, **self.options, **options})

    @property
    def stores(self) -> Stores:
        return open_stores(self.settings(), source_moved=True)

    def run(self, **options: Any) -> int:
        """What ``imgpipe run`` does between planning and reporting; returns the number of pending shards."""
        settings, stores = self.settings(**options), self.stores
        seal(
            plan(stores.source, stores.output, dataset=settings.dataset, shard_size=settings.shard_size),
            stores.output,
        )
        self.computed = []
        pending = [
            one.shard for one in shard_statuses(settings, stores, fingerprints(settings)) if one.pending
        ]
        for shard in pending:
            for step in steps(settings):
                stage = build_stage(step, settings)
                run_shard(step, stage, settings, stores, shard, on_row=self._hear)
        self.computed.sort()
        return len(pending)

    def rows(self, asset: str = QUALITY) -> dict[str, ImageRow]:
        """Row by source key over all shards."""
        return read_rows_of(self.stores.output, "art", asset)

    def document(self, key: str) -> dict[str, Any]:
        """An image's quality.json, which keeps to its schema."""
        found: dict[str, Any] = json.loads(self.stores.output.read(self.rows()[key].output_key))
        validate(found)
        return found

    def _hear(self, asset: str, shard: str, row: ImageRow, computed: bool) -> None:
        if computed:
            self.computed.append((asset, row.source_key))
