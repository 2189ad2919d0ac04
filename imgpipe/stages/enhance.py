"""Enhancement as a stage: one picture in, a larger one saved by rule and a feed for segmentation out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgpipe.images.image import Image
from imgpipe.inference.device import DeviceSetting
from imgpipe.records import ImageRow
from imgpipe.settings import EnhanceSettings, LimitSettings, UpscaleSettings
from imgpipe.stages.fingerprint import fingerprint
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult, encoder_bytes
from imgpipe.stages.upscale import UpscaleStage

if TYPE_CHECKING:
    from imgpipe.enhancement.enhance import Enhanced
    from imgpipe.enhancement.saving import Saved
    from imgpipe.upscaling.upscaler import Upscaled, Upscaler

#: Increment when the same settings make other pictures or files.
CODE_VERSION = 3
#: The feed and its file.
_FEED_BYTES_PER_PIXEL = 6


class EnhanceStage:
    """Enlarges by the configured upscaler, saves and makes the feed."""

    def __init__(
        self, enhance: EnhanceSettings, limits: LimitSettings, model_dir: Path, device: DeviceSetting
    ) -> None:
        self._settings = enhance
        self._limits = limits
        wanted = UpscaleSettings(model=enhance.model, fallback="classical")
        self._upscaling = UpscaleStage(
            wanted, model_dir, device, limits.max_output_pixels, setting="enhance.model"
        )

    @cached_property
    def fingerprint(self) -> str:
        parts = self._settings.model_dump()
        if self._settings.runs_network:
            parts["model"] = self._upscaling.fingerprint
        if self._settings.min_bytes is not None:
            parts["most"] = self._limits.max_output_pixels
        return fingerprint("enhance", CODE_VERSION, parts)

    @property
    def concurrency(self) -> int:
        return self._upscaling.concurrency

    def load(self) -> Upscaler:
        """The upscaler, built once: Lanczos, with the reason, where the weights are missing."""
        return self._upscaling.load()

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The enlarged picture, its file and the feed; where PNG may not do, another size or depth too."""
        from imgpipe.enhancement.enhance import largest_size, plan_size

        source, wanted = inputs["source"], self._settings
        width, height = plan_size(source.width, source.height, wanted)
        if width * height > self._limits.max_output_pixels:
            return 0  # It is refused before anything is made.
        planned = PictureSize(width, height, source.bit_depth)
        largest = PictureSize(*largest_size(width, height, wanted, self._limits), source.bit_depth)
        needed = FIXED_BYTES + 2 * largest.bytes + _FEED_BYTES_PER_PIXEL * largest.pixels
        if wanted.save_format_priority[0] != "PNG" or wanted.min_bytes or wanted.max_bytes:
            needed += planned.bytes + encoder_bytes("", largest.pixels)
        return needed + self._upscaling.network_bytes(source, largest)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.enhancement.enhance import enhance
        from imgpipe.enhancement.saving import save
        from imgpipe.enhancement.segmentation_feed import segmentation_feed

        source, upscaler = inputs["source"], self.load()
        made: list[Upscaled] = []

        def network(image: Image, width: int, height: int) -> Image:
            made.append(upscaler.upscale(image, (width, height)))
            return made[-1].image

        begin = time.perf_counter()
        enhanced = enhance(source, self._settings, self._limits, network if upscaler.network_scale else None)
        resized = time.perf_counter()
        saved = save(enhanced.image, self._settings, source=enhanced.base, limits=self._limits)
        written = time.perf_counter()
        feed = segmentation_feed(saved.image)
        done = time.perf_counter()
        details = _details(enhanced, saved, self._settings)
        for one in made:
            details["network"] = {**one.details, "tile_grid": one.tile_grid.as_dict(), **one.metrics}
        return StageResult(
            outputs={f"source_enhanced.{saved.extension}": saved.data, "segmentation_feed.png": feed},
            reasons=(*(reason for one in made for reason in one.reasons), *saved.reasons),
            model=upscaler.model,
            metrics=_metrics(enhanced, saved),
            details={**details, "model_load_seconds": self._upscaling.load_seconds},
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
