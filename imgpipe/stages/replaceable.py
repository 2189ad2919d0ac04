"""A stage whose output a person may have replaced by a fixed file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, ModelUse, TileGrid
from imgpipe.stages.catalogue import Action
from imgpipe.stages.protocol import MeasuredStage, PictureSize, Stage, StageResult

#: Role under which the engine hands in the fixed picture.
REPLACEMENT = "replacement"
#: What a replaced picture's row names as its model.
REPLACED_BY_HAND = ModelUse("replaced by hand", "review")


@dataclass(frozen=True, slots=True)
class ReplaceableStage:
    """The stage itself, unless a replacement is among the inputs: then that picture as it is."""

    stage: Stage
    action: Action
    #: What pictures are written as.
    format: str = "PNG"

    @property
    def fingerprint(self) -> str:
        return self.stage.fingerprint

    @property
    def concurrency(self) -> int:
        return self.stage.concurrency

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        if not isinstance(self.stage, MeasuredStage):
            return 64 * max(size.pixels for size in inputs.values())
        return self.stage.needed_bytes(inputs)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        if REPLACEMENT not in inputs:
            return self.stage.run(inputs, rows)
        source, picture = inputs["source"], inputs[REPLACEMENT]
        details: dict[str, Any] = {"replaced": True}
        if not self.action.same_size:  # One picture, never cut; scoring asks for the grid of an enlargement.
            details["tile_grid"] = TileGrid(scale=picture.width / source.width).as_dict()
        return StageResult(
            outputs={self.action.kinds[0]: picture},
            reasons=picture.notes,
            model=REPLACED_BY_HAND,
            details=details,
            main_format=self.format,
        )
