"""Upscaling as a stage: one picture in, its enlargement out, with the tile grid recorded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imgpipe.host import usable_cores
from imgpipe.images.image import Image
from imgpipe.inference.device import DeviceSetting, resolve_device
from imgpipe.records import ImageRow
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.stages.fingerprint import saved_as
from imgpipe.stages.loaded import Loaded
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult, encoder_bytes
from imgpipe.upscaling.build import fingerprint
from imgpipe.upscaling.upscaler import TargetSize

if TYPE_CHECKING:
    from imgpipe.upscaling.upscaler import Upscaler

#: Pictures at once on a GPU, which has a queue of its own: one batch of small ones, and as many that cores
#: prepare and finish meanwhile.
_ON_GPU = 32
#: Around a network, measured: the colours beneath transparency and strips of floats, per pixel of the source.
#: On a CPU the tiles of most pictures are planned for the first of these.
_TILES_BYTES, _NETWORK_BYTES_PER_PIXEL = 2**30, 8


class UpscaleStage:
    """The configured upscaler, loaded with the first image. ``setting``: what messages call its model's."""

    def __init__(
        self,
        upscale: UpscaleSettings,
        model_dir: Path,
        device: DeviceSetting,
        max_output_pixels: int,
        format: str = "PNG",  # noqa: A002 -- as encode calls it
        setting: str = "upscale.model",
    ) -> None:
        self._settings = upscale
        self._setting = setting
        self._format = format
        self._model_dir = model_dir
        self._device = device
        self._limits = LimitSettings(max_output_pixels=max_output_pixels)
        self._upscaler = Loaded(self._build)

    @cached_property
    def fingerprint(self) -> str:
        made = fingerprint(self._settings, self._model_dir, self._device, self._setting)
        return saved_as(made, self._format)

    @property
    def concurrency(self) -> int:
        if not self._settings.runs_network:
            return usable_cores()
        return _ON_GPU if resolve_device(self._device) == "cuda" else 1

    def load(self) -> Upscaler:
        """The model, built once; raises :class:`ModelError` where it cannot be used."""
        return self._upscaler.get()

    @property
    def load_seconds(self) -> float:
        """How long the model took to load, once."""
        return self._upscaler.seconds

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The result and its file; what a network takes too."""
        source = inputs["source"]
        target = TargetSize.of(self._settings)
        result = PictureSize(*target.size(source.width, source.height), source.bit_depth)
        if result.pixels > self._limits.max_output_pixels:
            return 0  # It is refused before anything is made.
        written = 2 * result.bytes + encoder_bytes(self._format, result.pixels)
        return FIXED_BYTES + written + self.network_bytes(source, result)

    def network_bytes(self, source: PictureSize, result: PictureSize) -> int:
        """What a network takes beside both pictures; 0 without one."""
        upscaler = self.load()
        scale = upscaler.network_scale
        if not scale:
            return 0
        fed = PictureSize(result.width, result.height, source.fed_depth)
        converting = source.srgb_view_bytes + (fed.bytes if fed.bit_depth != result.bit_depth else 0)
        # Another size than the network's is corrected once more beside the first result.
        is_native = (result.width, result.height) == (source.width * scale, source.height * scale)
        refined = 0 if is_native else fed.bytes
        around = _NETWORK_BYTES_PER_PIXEL * source.pixels + upscaler.native_bytes(source.width, source.height)
        tiles = _TILES_BYTES if resolve_device(self._device) == "cpu" else 0
        return converting + refined + tiles + around

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        upscaler = self.load()
        upscaled = upscaler.upscale(inputs["source"])
        return StageResult(
            outputs={"upscaled": upscaled.image},
            reasons=upscaled.reasons,
            model=upscaled.model,
            metrics=upscaled.metrics,
            details={
                **upscaled.details,
                "tile_grid": upscaled.tile_grid.as_dict(),
                "model_load_seconds": self.load_seconds,
            },
            seconds=upscaled.seconds,
            main_format=self._format,
        )

    def _build(self) -> Upscaler:
        from imgpipe.upscaling.build import build_upscaler

        return build_upscaler(
            self._settings,
            model_dir=self._model_dir,
            device=self._device,
            limits=self._limits,
            setting=self._setting,
        )
