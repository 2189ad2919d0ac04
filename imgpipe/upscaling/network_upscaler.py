"""Enlarging with a network: colours, alpha and size around tiles that :mod:`tile_runner` computes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import with_upscaler
from imgpipe.inference.device import has_matrix_unit
from imgpipe.inference.srgb_view import srgb_view
from imgpipe.inference.weights import LocatedWeights
from imgpipe.pixels.alpha import resize_alpha
from imgpipe.pixels.strips import spans
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.alpha import keep_within_neighbours
from imgpipe.upscaling.finish import Finisher, mean_of_channels
from imgpipe.upscaling.network import LoadedNetwork
from imgpipe.upscaling.network_input import ColourInput, GreyInput, NetworkInput
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged, row_groups
from imgpipe.upscaling.upscaler import TargetSize, Upscaled

_CLEARED_ROWS = 64
#: Of a pixel of the network's enlargement, and of its mean.
_LEVEL_BYTES, _MEAN_BYTES = 6, 12
#: Of a pixel with its alpha, in float32.
_SENT_BYTES = 16


class NetworkUpscaler:
    """An :class:`imgpipe.upscaling.upscaler.Upscaler` around one loaded network.

    The network computes a batch at a time; it uses all cores or the whole GPU by itself. What goes before and
    after it is done by each thread on its own.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        settings: UpscaleSettings,
        located: LocatedWeights,
        *,
        fallback_reason: str = "",
        limits: LimitSettings | None = None,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._target = TargetSize.of(settings)
        self._limits = limits
        self._licence = located.licence
        network = loaded.network
        self.model = ModelUse(
            name=located.name,
            backend=loaded.backend,
            sha256=located.sha256,
            precision=network.precision,
            device=network.device,
            fallback_reason=fallback_reason,
        )
        field = loaded.receptive_field
        self.halo_px = field.radius_px if settings.halo == "auto" else settings.halo
        planning = loaded, settings.tile_size, self.halo_px, settings.batch_size
        self._queue = NetworkQueue(loaded, TilePlanner(*planning))
        self._planner = TilePlanner(*planning)  # Asked from other threads, before anything is computed.
        self._on_device = network.device != "cpu"

    @property
    def network_scale(self) -> int:
        """How much larger the network's pictures are than its input."""
        return self._loaded.network.scale

    def native_bytes(self, width: int, height: int) -> int:
        """Levels and means of the tile rows under way; on a GPU also those on their way from it, and what is
        sent there."""
        groups = row_groups(self._planner.first(width, height))
        rows = max(group[-1].stop - group[0].start for group in groups)
        at_once = min(height, 2 * rows) if self._on_device else rows
        sent = _SENT_BYTES * width * height if self._on_device else 0
        return sent + at_once * width * (_LEVEL_BYTES * self.network_scale**2 + _MEAN_BYTES)

    def upscale(self, image: Image, size: tuple[int, int] | None = None) -> Upscaled:
        """Enlarge ``image`` as the settings say, or to ``size`` (width, height) px.

        Its channels, bit depth, profile and metadata stay; colours under alpha 0 become 0. Raises
        ``LimitExceeded`` (before anything is computed), ``OutOfMemory`` and ``InferenceError``.
        """
        target = self._target if size is None else replace(self._target, exact=size)
        with target.within(self._limits, image.width, image.height):
            return self._in_srgb(replace(image, xmp=with_upscaler(image.xmp, self.model.name)), target)

    def _in_srgb(self, image: Image, target: TargetSize) -> Upscaled:
        """The network works in sRGB's encoding; its answer goes back to the picture's own colour space."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "to_srgb"):
            view = srgb_view(image)
        done = self._upscale(view.image, target)
        if view.image is image:
            return done
        with _timed(seconds, "from_srgb"):
            result = view.back(done.image, reuse=True)
        return replace(
            done,
            image=result,
            details={**done.details, **view.details()},
            seconds={**done.seconds, **seconds},
        )

    def _upscale(self, image: Image, target: TargetSize) -> Upscaled:
        seconds: dict[str, float] = {}
        width, height = target.size(image.width, image.height)
        with _timed(seconds, "prepare"):
            colour = ColourInput(image)
        pixels: Pixels = np.empty((height, width, 4 if image.has_alpha else 3), image.pixels.dtype)
        with self._finisher(colour, pixels[..., :3], refine=True) as finisher:
            native = self._enlarge(colour, finisher, seconds)
        if image.alpha is not None:
            with _timed(seconds, "alpha"):
                self._enlarge_alpha(image.alpha, pixels[..., -1])
                _clear_invisible(pixels)
        if image.channels in (1, 2):
            grey = mean_of_channels(pixels[..., :3])
            pixels = grey if image.alpha is None else np.concatenate([grey, pixels[..., 3:]], axis=2)
        metrics = {"network_color_shift_255": finisher.shift_255}
        if self._settings.color_match:
            metrics["color_correction_max_255"] = finisher.correction_255
        return Upscaled(
            image=replace(image, pixels=pixels),
            tile_grid=TileGrid(native.plan.xs, native.plan.ys, target.factor(image.width, image.height)),
            model=self.model,
            metrics=metrics,
            details=self._details(native),
            seconds=seconds,
            reasons=tuple(self._notes(native)),
        )

    def _finisher(self, source: NetworkInput, target: Pixels, *, refine: bool = False) -> Finisher:
        return Finisher(
            source,
            self.network_scale,
            target,
            color_match=self._settings.color_match,
            refine=refine,
        )

    def _enlarge(self, source: NetworkInput, finisher: Finisher, seconds: dict[str, float]) -> Enlarged:
        """``source`` through the network and ``finisher``."""
        with _timed(seconds, "network_wait"):
            native = self._queue.enlarge(source, finisher)
            finisher.done()
        seconds |= {"network": native.seconds, **finisher.seconds}
        counted = native.seconds + sum(finisher.seconds.values())
        seconds["network_wait"] = max(0.0, seconds["network_wait"] - counted)
        return native

    def _enlarge_alpha(self, alpha: Pixels, enlarged: Pixels) -> None:
        """``alpha`` (h, w) at the size and in the dtype of ``enlarged`` (height, width), which is written."""
        height, width = enlarged.shape
        if self._settings.alpha == "lanczos":
            resize_alpha(alpha, width, height, enlarged.dtype, out=enlarged)
            return
        grey = GreyInput(alpha)
        with self._finisher(grey, enlarged[..., None]) as finisher:
            self._enlarge(grey, finisher, {})
        keep_within_neighbours(enlarged, alpha)

    def _notes(self, native: Enlarged) -> Iterator[str]:
        yield from self._loaded.reasons
        if native.plan.xs or native.plan.ys:
            yield from _halo_notes(self.halo_px, self._loaded)
        yield from _retry_notes(native)

    def _details(self, native: Enlarged) -> dict[str, Any]:
        field = self._loaded.receptive_field
        return {
            "architecture": self._loaded.architecture,
            "licence": self._licence,
            "runtime": self._loaded.runtime,
            "network_scale": self._loaded.network.scale,
            "tiles": len(native.plan.rows) * len(native.plan.columns),
            "tile_px": native.plan.largest_tile_px,
            "batch": native.batch,
            "halo_px": self.halo_px,
            "receptive_field_px": field.radius_px,
            "receptive_field_source": field.source,
            "exact_tiles": field.exact and self.halo_px >= field.radius_px and not self._sums_by_size(),
            "tta": self._settings.tta,
            "fp32_retries": native.fp32_retries,
            "oom_retries": native.oom_retries,
        }

    def _sums_by_size(self) -> bool:
        """Whether a convolution may sum in another order where a window's size is another: tiles then equal
        the whole to rounding, not exactly. On GPUs, and by oneDNN with the CPU's matrix unit, which leaves a
        row's last pixels to the vector unit."""
        by_matrix_unit = (
            self.model.precision == "bf16" and self._loaded.runtime != "amx" and has_matrix_unit()
        )
        return self.model.device != "cpu" or by_matrix_unit


def _clear_invisible(pixels: Pixels) -> None:
    """Colour under alpha 0 becomes 0: it is invisible anyway, and such files are half as large."""
    for rows in spans(0, pixels.shape[0], _CLEARED_ROWS):
        part = pixels[rows]
        part[part[..., -1] == 0] = 0


def _halo_notes(halo_px: int, loaded: LoadedNetwork) -> Iterator[str]:
    field = loaded.receptive_field
    if not field.exact:
        yield (
            f"{loaded.architecture} sees more than a tile: the result differs from the untiled one; "
            "upscale.tile_size=0 avoids that where memory allows"
        )
    elif halo_px < field.radius_px:
        yield (
            f"upscale.halo={halo_px} px is below the network's receptive field of {field.radius_px} px: "
            "tiles may show seams; `auto` is exact"
        )


def _retry_notes(native: Enlarged) -> Iterator[str]:
    if native.oom_retries:
        yield (
            f"out of memory {native.oom_retries} time(s): {native.batch} tile(s) of "
            f"{native.plan.largest_tile_px} px at once are used"
        )
    if native.fp32_retries:
        yield f"{native.fp32_retries} tile(s) had NaN or infinity in low precision and were redone in fp32"


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin
