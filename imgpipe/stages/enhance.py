"""Enhancement as a stage: one picture in, a larger one saved by rule and a feed for segmentation out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, ModelUse
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe.stages.fingerprint import fingerprint
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult

if TYPE_CHECKING:
    from imgpipe.enhancement.enhance import Enhanced
    from imgpipe.enhancement.saving import Saved

#: Increment when the same settings make other pictures or files.
CODE_VERSION = 3
#: The feed and its file; and what WebP's and JPEG's encoders take at most, their file included.
_FEED_BYTES_PER_PIXEL, _ENCODER_BYTES_PER_PIXEL = 6, 32


@dataclass(frozen=True, slots=True)
class EnhanceStage:
    """Enlarges, saves and makes the feed; nothing is loaded."""

    enhance: EnhanceSettings
    limits: LimitSettings

    @property
    def fingerprint(self) -> str:
        return fingerprint("enhance", CODE_VERSION, self.enhance.model_dump())

    @property
    def concurrency(self) -> int:
        return os.cpu_count() or 1

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The enlarged picture, its file and the feed; where PNG may not do, another size or depth too."""
        from imgpipe.enhancement.enhance import plan_size
        from imgpipe.enhancement.least_file import most_pixels

        source, wanted = inputs["source"], self.enhance
        width, height = plan_size(source.width, source.height, wanted)
        planned = PictureSize(width, height, source.bit_depth)
        if planned.pixels > self.limits.max_output_pixels:
            return 0  # It is refused before anything is made.
        most_px = most_pixels(planned.pixels, wanted, self.limits)
        largest_bytes = planned.bytes * most_px // planned.pixels
        needed = FIXED_BYTES + 2 * largest_bytes + _FEED_BYTES_PER_PIXEL * most_px
        if wanted.save_format_priority[0] != "PNG" or wanted.min_bytes or wanted.max_bytes:
            needed += planned.bytes + _ENCODER_BYTES_PER_PIXEL * most_px
        return needed

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.enhancement.enhance import enhance
        from imgpipe.enhancement.saving import save
        from imgpipe.enhancement.segmentation_feed import segmentation_feed

        source = inputs["source"]
        begin = time.perf_counter()
        enhanced = enhance(source, self.enhance, self.limits)
        resized = time.perf_counter()
        saved = save(enhanced.image, self.enhance, source=source, limits=self.limits)
        written = time.perf_counter()
        feed = segmentation_feed(saved.image)
        done = time.perf_counter()
        return StageResult(
            outputs={f"source_enhanced.{saved.extension}": saved.data, "segmentation_feed.png": feed},
            reasons=saved.reasons + feed.notes,
            model=ModelUse(self.enhance.model, "classical", precision="fp32", device="cpu"),
            metrics=_metrics(enhanced, saved),
            details=_details(enhanced, saved, self.enhance),
            seconds={"resize": resized - begin, "save": written - resized, "feed": done - written},
            main_image=saved.image,
            main_format=saved.format,
        )


def _metrics(enhanced: Enhanced, saved: Saved) -> dict[str, float]:
    """``factor``: the saved picture's longer side over the source's."""
    final = max(saved.image.width, saved.image.height) / max(enhanced.image.width, enhanced.image.height)
    numbers = {"factor": enhanced.factor * final, "encodings": float(len(saved.attempts))}
    for name in ("min_bytes_met", "max_bytes_met"):
        if getattr(saved, name) is not None:
            numbers[name] = float(getattr(saved, name))
    return numbers


def _details(enhanced: Enhanced, saved: Saved, settings: EnhanceSettings) -> dict[str, Any]:
    return {
        "enlarged": {
            "factor": enhanced.factor,
            "width": enhanced.image.width,
            "height": enhanced.image.height,
            "reasons": list(enhanced.reasons),
        },
        "saved": {"format": saved.format, "quality": saved.quality, "bytes": len(saved.data)},
        "min_bytes": settings.min_bytes,
        "min_bytes_met": saved.min_bytes_met,
        "max_bytes": settings.max_bytes,
        "max_bytes_met": saved.max_bytes_met,
        "attempts": [asdict(attempt) for attempt in saved.attempts],
        "passed_over": dict(saved.passed_over),
    }
