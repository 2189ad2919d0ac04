"""A stage whose output a person may have replaced by a fixed file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, ModelUse, TileGrid
from imgpipe.stages.chain import MATTED, UPSCALED
from imgpipe.stages.protocol import Stage, StageResult

#: Role under which the engine hands in the fixed picture.
REPLACEMENT = "replacement"
#: Assets whose pictures can be replaced.
REPLACEABLE = (MATTED, UPSCALED)
#: What a replaced picture's row names as its model.
REPLACED_BY_HAND = ModelUse("replaced by hand", "review")


@dataclass(frozen=True, slots=True)
class ReplaceableStage:
    """The stage itself, unless a replacement is among the inputs: then that one, as it is.

    ``kind``: the stage's output that is replaced.
    """

    stage: Stage
    kind: str

    @property
    def fingerprint(self) -> str:
        return self.stage.fingerprint

    @property
    def concurrency(self) -> int:
        return self.stage.concurrency

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        if REPLACEMENT not in inputs:
            return self.stage.run(inputs, rows)
        source, picture = inputs["source"], inputs[REPLACEMENT]
        details: dict[str, Any] = {"replaced": True}
        if self.kind == "upscaled":  # One picture, never cut; quality asks for the grid of every enlargement.
            details["tile_grid"] = TileGrid(scale=picture.width / source.width).as_dict()
        return StageResult(
            outputs={self.kind: picture}, reasons=picture.notes, model=REPLACED_BY_HAND, details=details
        )
