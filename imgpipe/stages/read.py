"""The first stage: every source is read and decoded once, so that unusable files are known early."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from imgpipe.images.image import Image
from imgpipe.records import ImageRow
from imgpipe.settings import LimitSettings
from imgpipe.stages.fingerprint import fingerprint
from imgpipe.stages.protocol import PictureSize, StageResult

#: Increment when decoding gives other pictures for the same files.
CODE_VERSION = 3


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Makes no picture of its own: its row describes the source, and the source is its output."""

    limits: LimitSettings

    @property
    def fingerprint(self) -> str:
        without_effect = {"max_deleted_share", "max_memory_bytes"}
        return fingerprint("read", CODE_VERSION, self.limits.model_dump(exclude=without_effect))

    @property
    def concurrency(self) -> int:
        return os.cpu_count() or 1

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The decoding worker's pixels and the memory that hands them over."""
        return 2 * inputs["source"].bytes

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        image = inputs["source"]
        return StageResult(
            details={
                "channels": image.channels,
                "icc_bytes": len(image.icc or b""),
                "exif_bytes": len(image.exif or b""),
                "xmp_bytes": len(image.xmp or b""),
            }
        )
