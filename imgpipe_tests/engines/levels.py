"""Pictures that are known by their grey level, and a stage that treats them by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from imgpipe.config import Settings
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status
from imgpipe.settings import IsolationSettings
from imgpipe.stages.chain import steps
from imgpipe.stages.protocol import StageResult
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import Stores

SETTINGS = Settings(dataset="art", actions=("rembg",), workers=1, isolation=IsolationSettings(mode="none"))
READ, MATTE, SCORE = steps(SETTINGS)


@dataclass
class Cutout:
    """Adds an opaque alpha channel; fails as ``failures`` says and rejects ``rejected``, by grey level."""

    fingerprint: str = "cutout-1"
    concurrency: int = 1
    failures: Mapping[int, Exception] = field(default_factory=dict)
    rejected: tuple[int, ...] = ()
    seen: list[int] = field(default_factory=list)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        pixels = inputs["source"].pixels
        level = int(pixels[0, 0, 0])
        self.seen.append(level)
        if level in self.failures:
            raise self.failures[level]
        status = Status.REJECTED if level in self.rejected else Status.OK
        reasons = ("too soft",) if level in self.rejected else ()
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        return StageResult({"matted": Image(np.dstack([pixels, opaque]))}, status, reasons)


def flat(level: int) -> bytes:
    """A file of 4x5 px in one grey level."""
    return encode(Image(np.full((5, 4, 3), level, np.uint8)))


def replan(stores: Stores) -> None:
    """Seal what is new or changed in the source, as one shard."""
    seal(plan(stores.source, stores.output, dataset="art", shard_size=100), stores.output)
