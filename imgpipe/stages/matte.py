"""Matting as a stage: one picture in, its cutout out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imgpipe.host import usable_cores
from imgpipe.images.image import Image
from imgpipe.matting.band_memory import assumed_band_bytes
from imgpipe.matting.build import fingerprint
from imgpipe.records import ImageRow
from imgpipe.settings import RembgSettings
from imgpipe.stages.fingerprint import saved_as
from imgpipe.stages.loaded import Loaded
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult, encoder_bytes

if TYPE_CHECKING:
    from imgpipe.matting.matte import Matter


#: Measured with either backend on pictures of 9 to 100 megapixels: planes of alpha and colours at the end;
#: and while the soft band is solved those that are there then, beside its system.
_BYTES_PER_PIXEL, _SOLVING_BYTES_PER_PIXEL = 40, 30


class MatteStage:
    """The configured matting model, loaded with the first image."""

    def __init__(
        self,
        rembg: RembgSettings,
        model_dir: Path,
        device: str,
        format: str = "PNG",  # noqa: A002 -- as encode calls it
    ) -> None:
        self._settings = rembg
        self._format = format
        self._model_dir = model_dir
        self._device = device
        self._matter = Loaded(self._build)

    @cached_property
    def fingerprint(self) -> str:
        return saved_as(fingerprint(self._settings, self._model_dir), self._format)

    @property
    def concurrency(self) -> int:
        # Threads take turns at a network: one picture is there while the cores refine others.
        return usable_cores() + 1 if self._settings.runs_network else max(1, usable_cores() // 2)

    def load(self) -> Matter:
        """The model, built once; raises :class:`ModelError` where it cannot be used."""
        return self._matter.get()

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The cutout, and the planes of refinement; with a profile, the picture in sRGB too. What its
        soft band takes beyond that is asked for when the band is known."""
        source = inputs["source"]
        cutout = PictureSize(source.width, source.height, source.fed_depth)
        solving = _SOLVING_BYTES_PER_PIXEL * source.pixels + assumed_band_bytes(source.pixels)
        planes = max(_BYTES_PER_PIXEL * source.pixels, solving)
        written = encoder_bytes(self._format, source.pixels)
        return FIXED_BYTES + cutout.bytes + source.srgb_view_bytes + planes + written

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.inference.srgb_view import srgb_view

        matter = self.load()
        view = srgb_view(inputs["source"])
        matte = matter.matte(view.image)
        return StageResult(
            outputs={"matted": view.back(matte.image, reuse=True)},
            status=matte.status,
            reasons=matte.reasons,
            model=matter.model,
            metrics=matte.metrics,
            details={**matte.details, **view.details(), "model_load_seconds": self._matter.seconds},
            seconds=matte.seconds,
            main_format=self._format,
        )

    def _build(self) -> Matter:
        from imgpipe.matting.build import build_matter

        return build_matter(self._settings, model_dir=self._model_dir, device=self._device)
