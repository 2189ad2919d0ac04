"""Enlarging with a network: colours, alpha and size around tiles that :mod:`tile_runner` computes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Image, Pixels
from imgpipe.inference.srgb_view import srgb_view
from imgpipe.inference.weights import LocatedWeights
from imgpipe.pixels.alpha import resize_alpha
from imgpipe.pixels.resize import area_average
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.alpha import extend_colours, within_neighbours
from imgpipe.upscaling.color_match import Floats, color_correction, low_frequency_difference
from imgpipe.upscaling.finish import finish
from imgpipe.upscaling.network import LoadedNetwork
from imgpipe.upscaling.network_queue import NetworkQueue
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged
from imgpipe.upscaling.upscaler import TargetSize, Upscaled

#: A mean colour shift up to this is left after the final resize, 1/255.
_TOLERATED_SHIFT_255 = 0.03


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
        )
        field = loaded.receptive_field
        self.halo_px = field.radius_px if settings.halo == "auto" else settings.halo
        planner = TilePlanner(loaded, settings.tile_size, self.halo_px, settings.batch_size)
        self._queue = NetworkQueue(loaded, planner)

    @property
    def network_scale(self) -> int:
        """How much larger the network's pictures are than its input."""
        return self._loaded.network.scale

    def upscale(self, image: Image, size: tuple[int, int] | None = None) -> Upscaled:
        """Enlarge ``image`` as the settings say, or to ``size`` (width, height) px.

        Its channels, bit depth, profile and metadata stay; colours under alpha 0 become 0. Raises
        ``LimitExceeded`` (before anything is computed), ``OutOfMemory`` and ``InferenceError``.
        """
        target = self._target if size is None else replace(self._target, exact=size)
        target.check(image.width, image.height, self._limits)
        try:
            return self._in_srgb(image, target)
        except MemoryError as exc:
            raise OutOfMemory(
                f"{image.width} x {image.height} px at {target} do not fit into the host's "
                f"memory; lower {target.setting} or run fewer workers"
            ) from exc

    def _in_srgb(self, image: Image, target: TargetSize) -> Upscaled:
        """The network works in sRGB's encoding; its answer goes back to the picture's own colour space."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "to_srgb"):
            view = srgb_view(image)
        done = self._upscale(view.image, target)
        if view.image is image:
            return done
        with _timed(seconds, "from_srgb"):
            result = view.back(done.image)
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
            colour, alpha = _network_input(image)
        with _timed(seconds, "network_wait"):
            native = self._queue.enlarge(colour)
        seconds["network"] = native.seconds
        seconds["network_wait"] = max(0.0, seconds["network_wait"] - native.seconds)
        with _timed(seconds, "color_match"):
            shift = _color_shift_255(colour, native.mean, alpha)
            correction = color_correction(colour, native.mean, alpha) if self._settings.color_match else None
        with _timed(seconds, "finish"):
            enlarged = _finished(native, width, height, image.pixels.dtype, correction, colour, alpha)
            if image.channels in (1, 2):
                enlarged = _mean_of_channels(enlarged)
        if alpha is not None:
            with _timed(seconds, "alpha"):
                enlarged = _with_alpha(enlarged, self._enlarged_alpha(alpha, enlarged))
        metrics = {"network_color_shift_255": shift}
        if correction is not None:
            metrics["color_correction_max_255"] = float(np.abs(correction).max()) * 255
        return Upscaled(
            image=replace(image, pixels=enlarged),
            tile_grid=TileGrid(native.plan.xs, native.plan.ys, target.factor(image.width, image.height)),
            model=self.model,
            metrics=metrics,
            details=self._details(native),
            seconds=seconds,
            reasons=tuple(self._notes(native)),
        )

    def _enlarged_alpha(self, alpha: Floats, enlarged: Pixels) -> Pixels:
        """Alpha at the size and in the dtype of ``enlarged``."""
        height, width, _ = enlarged.shape
        if self._settings.alpha == "lanczos":
            return resize_alpha(alpha, width, height, enlarged.dtype)
        grey = np.repeat(alpha[..., None], 3, axis=2)
        native = self._queue.enlarge(grey)
        correction = color_correction(grey, native.mean) if self._settings.color_match else None
        levels = finish(native.levels, width, height, enlarged.dtype, correction)
        return within_neighbours(_mean_of_channels(levels)[..., 0], alpha)

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
            "exact_tiles": field.exact and self.halo_px >= field.radius_px,
            "tta": self._settings.tta,
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


def _finished(
    native: Enlarged,
    width: int,
    height: int,
    dtype: np.dtype[Any],
    correction: Floats | None,
    colour: Floats,
    alpha: Floats | None,
) -> Pixels:
    """The network's picture at its final size, with the colours of ``colour`` where they are corrected.

    ``correction`` is for the network's own size. Lanczos to another one overshoots at hard edges and is
    clipped there, which shifts the mean again; that is measured on the result and corrected in turn.
    """
    enlarged = finish(native.levels, width, height, dtype, correction)
    same_size = native.levels.shape[:2] == (height, width)
    if correction is None or same_size or width < colour.shape[1] or height < colour.shape[0]:
        return enlarged
    round_trip = _reduced(enlarged, colour)
    if _color_shift_255(colour, round_trip, alpha) <= _TOLERATED_SHIFT_255:
        return enlarged
    correction = correction + low_frequency_difference(colour, round_trip, alpha)
    return finish(native.levels, width, height, dtype, correction)


def _reduced(enlarged: Pixels, like: Floats) -> Floats:
    """``enlarged`` at the size of ``like`` by an area filter, in 0..1.

    A channel at a time, to hold one float32 plane of the large picture.
    """
    height, width, channels = like.shape
    result = np.empty_like(like)
    for channel in range(channels):
        result[..., channel] = area_average(enlarged[..., channel], (width, height))
    result /= np.float32(np.iinfo(enlarged.dtype).max)
    return result


def _with_alpha(colour: Pixels, alpha: Pixels) -> Pixels:
    colour[alpha == 0] = 0  # invisible anyway, and such files are half as large
    pixels: npt.NDArray[Any] = np.concatenate([colour, alpha[..., None]], axis=2)
    return pixels


def _mean_of_channels(levels: Pixels) -> Pixels:
    total = levels.sum(axis=2, dtype=np.uint32, keepdims=True)
    mean: npt.NDArray[Any] = ((2 * total + 3) // 6).astype(levels.dtype)  # rounded half up
    return mean


def _color_shift_255(source: Floats, round_trip: Floats, alpha: Floats | None) -> float:
    """Largest absolute channel mean of round trip - source, weighted by alpha, in 1/255."""
    if alpha is None:
        means = np.array(cv2.mean(round_trip - source)[:3])  # summed in float64
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
