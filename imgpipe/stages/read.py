"""The first stage: every source is read and decoded once, so that unusable files are known early."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from imgpipe.host import usable_cores
from imgpipe.images.image import Image
from imgpipe.records import ImageRow
from imgpipe.settings import LimitSettings
from imgpipe.stages.fingerprint import fingerprint
from imgpipe.stages.protocol import PictureSize, StageResult

#: Increment when rows of all sources are to be made again. Other pictures for the same files are told by
#: :data:`DECODER_VERSIONS`: results from before rows had digests of pictures follow these alone.
CODE_VERSION = 3
#: Format -> version of its decoder, where that is not 1. Increment when it gives other pictures for some
#: files: this format alone is read again.
DECODER_VERSIONS = {"AVIF": 2}


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Makes no picture of its own: its row describes the source, and the source is its output."""

    limits: LimitSettings

    @property
    def fingerprint(self) -> str:
        return self._fingerprint(DECODER_VERSIONS)

    def fingerprint_of(self, source_format: str) -> str:
        """What the reading of one source depends on: of all decoders on its own alone."""
        own = DECODER_VERSIONS.get(source_format)
        return self._fingerprint({} if own is None else {source_format: own})

    def _fingerprint(self, decoders: Mapping[str, int]) -> str:
        without_effect = {"max_deleted_share", "max_memory_bytes"}
        parts = self.limits.model_dump(exclude=without_effect) | ({"decoders": decoders} if decoders else {})
        return fingerprint("read", CODE_VERSION, parts)

    @property
    def concurrency(self) -> int:
        return usable_cores()

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
                "picture_sha256": _digest(image),
            }
        )


def _digest(image: Image) -> str:
    """sha256 (hex) over what the stages that follow see of the picture."""
    shape = f"{image.pixels.shape} {image.pixels.dtype} {len(image.icc or b'')}"
    digest = hashlib.sha256(shape.encode() + (image.icc or b""))
    digest.update(image.pixels.data)
    return digest.hexdigest()
