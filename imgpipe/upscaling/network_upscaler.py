"""Enlarging with a network: tiles, colours, alpha and size around :class:`LoadedNetwork`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imgpipe.errors import InferenceError, OutOfMemory
from imgpipe.images.image import Image, Pixels
from imgpipe.inference.tiling import Span, TilePlan
from imgpipe.inference.torch_network import is_out_of_memory
from imgpipe.inference.weights import LocatedWeights
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.alpha import enlarge_alpha, extend_colours
from imgpipe.upscaling.color_match import Floats, color_correction
from imgpipe.upscaling.finish import NATIVE_MAX, Native, finish
from imgpipe.upscaling.spandrel_network import LoadedNetwork
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.upscaler import Upscaled, check_output, target_size


@dataclass(slots=True)
class _Native:
    """What the network made of one picture."""

    pixels: Native
    round_trip: Floats
    plan: TilePlan
    oom_retries: int
    fp32_retries: int


class NetworkUpscaler:
    """An :class:`imgpipe.upscaling.upscaler.Upscaler` around one loaded network.

    One picture at a time runs on the network, which uses all cores or the whole GPU by itself.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        settings: UpscaleSettings,
        located: LocatedWeights,
        *,
        limits: LimitSettings | None = None,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._limits = limits
        self._lock = threading.Lock()
        network = loaded.network
        self.model = ModelUse(
            name=located.name,
            backend="spandrel",
            sha256=located.sha256,
            precision=network.precision,
            device=network.device.type,
        )
        field = loaded.receptive_field
        self.halo_px = field.radius_px if settings.halo == "auto" else settings.halo
        self._planner = TilePlanner(loaded, settings.tile_size, self.halo_px)

    def upscale(self, image: Image) -> Upscaled:
        """Enlarge ``image`` by ``settings.scale``; its channels, bit depth, profile and metadata stay.

        Alpha is enlarged by Lanczos without ringing; colours under alpha 0 become 0. Raises
        ``LimitExceeded`` (before anything is computed), ``OutOfMemory`` and ``InferenceError``.
        """
        check_output(image.width, image.height, self._settings.scale, self._limits)
        with self._lock:
            try:
                return self._upscale(image)
            except MemoryError as exc:
                raise OutOfMemory(
                    f"{image.width} x {image.height} px at scale {self._settings.scale:g} do not fit into "
                    "the host's memory; lower upscale.scale or run fewer workers"
                ) from exc

    def _upscale(self, image: Image) -> Upscaled:
        seconds: dict[str, float] = {}
        width, height = target_size(image.width, image.height, self._settings.scale)
        with _timed(seconds, "prepare"):
            colour, alpha = _network_input(image)
        with _timed(seconds, "network"):
            native = self._run(colour)
        with _timed(seconds, "color_match"):
            shift = _color_shift_255(colour, native.round_trip, alpha)
            correction = (
                color_correction(colour, native.round_trip, alpha) if self._settings.color_match else None
            )
        with _timed(seconds, "finish"):
            enlarged = finish(native.pixels, width, height, image.pixels.dtype, correction)
            pixels = _output_pixels(image, enlarged, alpha)
        metrics = {"network_color_shift_255": shift}
        if correction is not None:
            metrics["color_correction_max_255"] = float(np.abs(correction).max()) * 255
        return Upscaled(
            image=replace(image, pixels=pixels),
            tile_grid=TileGrid(native.plan.xs, native.plan.ys, self._settings.scale),
            model=self.model,
            metrics=metrics,
            details=self._details(native),
            seconds=seconds,
            reasons=tuple(self._notes(native)),
        )

    def _run(self, colour: Floats) -> _Native:
        """The network over all tiles; on out-of-memory again with tiles of half the edge."""
        height, width, _ = colour.shape
        plan = self._planner.plan(width, height)
        retries = 0
        while True:
            try:
                pixels, round_trip = self._run_tiles(colour, plan)
            except (RuntimeError, MemoryError) as exc:
                if not is_out_of_memory(exc):
                    raise InferenceError(
                        f"the network failed on {width} x {height} px: {exc}; "
                        "if other images work, this is a defect worth reporting"
                    ) from exc
                failure = exc.with_traceback(None)  # its frames hold the tensors that did not fit
            else:
                counts = self._loaded.network.take_counts()
                return _Native(pixels, round_trip, plan, retries, counts.fp32_retries)
            self._loaded.network.release_cached_memory()
            plan = self._planner.smaller(plan, failure)
            retries += 1

    def _run_tiles(self, colour: Floats, plan: TilePlan) -> tuple[Native, Floats]:
        """(network output as uint16, its area reduction to the source's size), tile by tile."""
        scale = self._loaded.network.scale
        height, width, channels = colour.shape
        native = np.empty((height * scale, width * scale, channels), np.uint16)
        round_trip = np.empty_like(colour)
        self._loaded.network.take_counts()  # what an abandoned attempt left
        with torch.inference_mode():
            for row, column in plan.tiles():
                result = self._loaded.network(colour[row.window, column.window])
                core = result[:, :, row.core(scale), column.core(scale)].clamp_(0.0, 1.0)
                mean = torch.nn.functional.avg_pool2d(core, scale)
                round_trip[row.kept, column.kept] = _to_numpy(mean)
                levels = core.mul(NATIVE_MAX).add_(0.5).to(torch.uint16)
                native[_enlarged(row, scale), _enlarged(column, scale)] = _to_numpy(levels)
        return native, round_trip

    def _notes(self, native: _Native) -> Iterator[str]:
        yield from self._loaded.reasons
        if native.plan.xs or native.plan.ys:
            yield from _halo_notes(self.halo_px, self._loaded)
        yield from _retry_notes(native)

    def _details(self, native: _Native) -> dict[str, Any]:
        field = self._loaded.receptive_field
        return {
            "architecture": self._loaded.architecture,
            "network_scale": self._loaded.network.scale,
            "tiles": len(native.plan.rows) * len(native.plan.columns),
            "tile_px": native.plan.largest_tile_px,
            "halo_px": self.halo_px,
            "receptive_field_px": field.radius_px,
            "receptive_field_source": field.source,
            "exact_tiles": field.exact and self.halo_px >= field.radius_px,
            "fp32_retries": native.fp32_retries,
            "oom_retries": native.oom_retries,
        }


def _network_input(image: Image) -> tuple[Floats, Floats | None]:
    """(h, w, 3) float32 RGB in 0..1 with no hole in it, and alpha (h, w) in 0..1 or ``None``."""
    full = np.float32(image.max_value)
    colour = image.colour.astype(np.float32) / full
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    if image.alpha is None:
        return colour, None
    alpha = image.alpha.astype(np.float32) / full
    return extend_colours(colour, alpha), alpha


def _output_pixels(image: Image, enlarged: Pixels, alpha: Floats | None) -> Pixels:
    """The enlarged RGB in the source's own channels."""
    height, width, _ = enlarged.shape
    if image.channels in (1, 2):
        enlarged = _mean_of_channels(enlarged)
    if alpha is None:
        return enlarged
    new_alpha = enlarge_alpha(alpha, width, height, image.pixels.dtype)
    enlarged[new_alpha == 0] = 0  # invisible anyway, and such files are half as large
    pixels: npt.NDArray[Any] = np.concatenate([enlarged, new_alpha[..., None]], axis=2)
    return pixels


def _mean_of_channels(levels: Pixels) -> Pixels:
    total = levels.sum(axis=2, dtype=np.uint32, keepdims=True)
    mean: npt.NDArray[Any] = ((2 * total + 3) // 6).astype(levels.dtype)  # rounded half up
    return mean


def _color_shift_255(source: Floats, round_trip: Floats, alpha: Floats | None) -> float:
    """Largest absolute channel mean of round trip - source, weighted by alpha, in 1/255."""
    if alpha is None:
        means = (round_trip - source).mean(axis=(0, 1), dtype=np.float64)
    else:
        total = max(float(alpha.sum(dtype=np.float64)), 1e-6)
        means = ((round_trip - source) * alpha[..., None]).sum(axis=(0, 1), dtype=np.float64) / total
    return float(np.abs(means).max() * 255)


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


def _retry_notes(native: _Native) -> Iterator[str]:
    if native.oom_retries:
        yield (
            f"out of memory {native.oom_retries} time(s): tiles of {native.plan.largest_tile_px} px are used"
        )
    if native.fp32_retries:
        yield f"{native.fp32_retries} tile(s) had NaN or infinity in low precision and were redone in fp32"


def _enlarged(span: Span, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


def _to_numpy(values: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = values[0].permute(1, 2, 0).cpu().numpy()
    return array


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin
