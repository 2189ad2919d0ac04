"""Fixing as a stage: one picture in, the same without JPEG's blocks, steps and noise out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgpipe.errors import ModelMismatch
from imgpipe.host import usable_cores
from imgpipe.images.image import Image
from imgpipe.inference.device import DeviceSetting
from imgpipe.inference.weights import LocatedWeights, locate, names_for
from imgpipe.records import ImageRow, ModelUse
from imgpipe.settings import FixSettings, UpscaleSettings
from imgpipe.stages.fingerprint import fingerprint, saved_as
from imgpipe.stages.loaded import Loaded
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult, encoder_bytes
from imgpipe.stages.upscale import UpscaleStage

if TYPE_CHECKING:
    from imgpipe.fixing.clean_network import CleanNetwork
    from imgpipe.upscaling.upscaler import Upscaled, Upscaler

#: Increment when the same settings make other pictures.
CODE_VERSION = 1
_CLASSICAL = ModelUse("dct", "classical", "", "fp32", "cpu")


class FixStage:
    """What is found is fixed; a network, where one is set, does what upscaling does, by a factor of 1."""

    def __init__(
        self,
        fix_artifacts: FixSettings,
        model_dir: Path,
        device: DeviceSetting,
        max_output_pixels: int,
        format: str = "PNG",  # noqa: A002 -- as encode calls it
    ) -> None:
        self._settings = fix_artifacts
        self._format = format
        self._model_dir = model_dir
        self._network: UpscaleStage | None = None
        self._clean: Loaded[CleanNetwork] | None = None
        if fix_artifacts.runs_network and fix_artifacts.model in names_for("fixing"):
            self._clean = Loaded(partial(self._build_clean, device))
        elif fix_artifacts.runs_network:
            network = UpscaleSettings(model=str(fix_artifacts.model), scale=1.0)
            self._network = UpscaleStage(
                network, model_dir, device, max_output_pixels, setting="fix_artifacts.model"
            )

    def _build_clean(self, device: str) -> CleanNetwork:
        from imgpipe.fixing.clean_network import CleanNetwork

        return CleanNetwork(self._located, device)

    @property
    def _located(self) -> LocatedWeights:
        return locate(str(self._settings.model), "fixing", self._model_dir)

    @cached_property
    def fingerprint(self) -> str:
        network = self._located.sha256 if self._clean else self._network and self._network.fingerprint
        facts = {"strength": self._settings.denoise_strength, "network": network}
        return saved_as(fingerprint("fix_artifacts", CODE_VERSION, facts), self._format)

    @property
    def concurrency(self) -> int:
        return usable_cores() if self._network is None else self._network.concurrency

    def load(self) -> Upscaler | None:
        """The network, built once, where one is set; raises :class:`ModelError` where it cannot be used."""
        if self._clean is not None:
            self._clean.get()
        if self._network is None:
            return None
        network = self._network.load()
        if network.network_scale != 1:
            raise ModelMismatch(
                f"fix_artifacts.model={self._settings.model}: expected a network of factor 1, got one that "
                f"enlarges by {network.network_scale}; set it as upscale.model"
            )
        return network

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """The result, a copy between two steps, and the planes of a piece for each; a network's own."""
        from imgpipe.fixing.pieces import PIECE_BYTES

        source = inputs["source"]
        planes = PIECE_BYTES * (1 if self._clean is None else 2)  # A network's layers take as much again.
        needed = FIXED_BYTES + planes + 2 * source.bytes + encoder_bytes(self._format, source.pixels)
        if self._network is not None:
            self.load()
            needed += self._network.needed_bytes(inputs)
        return needed

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.fixing.fix import fix

        network, own = self.load(), None if self._clean is None else self._clean.get()
        kept: list[Upscaled] = []
        restore = None if network is None else partial(_restored, network, kept)
        fixed = fix(inputs["source"], self._settings.denoise_strength, own or restore)
        by_network = kept[0] if kept else None
        by_own = own if "network" in fixed.details["done"] else None
        return StageResult(
            outputs={"fixed": fixed.image},
            reasons=by_network.reasons if by_network else (),
            model=by_network.model if by_network else by_own.model if by_own else _CLASSICAL,
            metrics=_metrics(fixed.details),
            details={
                "fix_artifacts": {**fixed.details},
                **({"network": {**by_network.details}} if by_network else {}),
            },
            seconds={**fixed.seconds, **(by_network.seconds if by_network else {})},
            main_format=self._format,
        )


def _restored(network: Upscaler, kept: list[Upscaled], image: Image) -> Image:
    kept.append(network.upscale(image))
    return kept[0].image


def _metrics(details: Mapping[str, Any]) -> dict[str, float]:
    """Blockiness and banding before and after, as columns of the table."""
    names = ("blockiness", "banding")
    return {f"{name}_{when}": value for name in names for when, value in details.get(name, {}).items()}
