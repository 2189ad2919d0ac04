"""Matting as a stage: one picture in, its cutout out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imgpipe.images.image import Image
from imgpipe.matting.build import fingerprint
from imgpipe.records import ImageRow
from imgpipe.settings import RembgSettings
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult

if TYPE_CHECKING:
    from imgpipe.matting.matte import Matter


#: Measured with either backend on pictures of 9 to 100 megapixels: float planes of alpha, trimap and colours.
_BYTES_PER_PIXEL = 40


class MatteStage:
    """The configured matting model, loaded with the first image."""

    def __init__(self, rembg: RembgSettings, model_dir: Path, device: str) -> None:
        self._settings = rembg
        self._model_dir = model_dir
        self._device = device
        self._lock = threading.Lock()

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self._settings, self._model_dir)

    @property
    def concurrency(self) -> int:
        return 1 if self._settings.runs_network else max(1, (os.cpu_count() or 1) // 2)

    def load(self) -> Matter:
        """The model, built once; raises :class:`ModelError` where it cannot be used."""
        with self._lock:
            return self._matter

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        source = inputs["source"]
        return FIXED_BYTES + source.bytes + _BYTES_PER_PIXEL * source.pixels

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.inference.srgb_view import srgb_view

        matter = self.load()
        view = srgb_view(inputs["source"])
        matte = matter.matte(view.image)
        return StageResult(
            outputs={"matted": view.back(matte.image)},
            status=matte.status,
            reasons=(*matte.reasons, *filter(None, [view.fault])),
            model=matter.model,
            metrics=matte.metrics,
            details={**matte.details, **view.details()},
            seconds=matte.seconds,
        )

    @cached_property
    def _matter(self) -> Matter:
        from imgpipe.matting.build import build_matter

        return build_matter(self._settings, model_dir=self._model_dir, device=self._device)
