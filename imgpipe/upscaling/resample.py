"""Classical enlarging: Lanczos and bicubic, premultiplied, in float32."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Image, Pixels
from imgpipe.images.resize import Kernel, resize_array
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings
from imgpipe.upscaling.alpha import enlarge_alpha
from imgpipe.upscaling.upscaler import TargetSize, Upscaled

Floats = npt.NDArray[np.float32]


class ResampleUpscaler:
    """An :class:`imgpipe.upscaling.upscaler.Upscaler` without a network.

    ``kernel``: ``lanczos`` (3 lobes) or ``bicubic`` (Catmull-Rom, Keys 1981), antialiased when reducing.
    """

    def __init__(
        self,
        target: TargetSize,
        kernel: Kernel,
        *,
        fallback_reason: str = "",
        limits: LimitSettings | None = None,
    ) -> None:
        self._target = target
        self._kernel = kernel
        self._limits = limits
        self.model = ModelUse(
            name=kernel,
            backend="classical",
            precision="fp32",
            device="cpu",
            fallback_reason=fallback_reason,
        )

    def upscale(self, image: Image) -> Upscaled:
        """Enlarge ``image``; its channels, bit depth, profile and metadata stay.

        Raises ``LimitExceeded`` before anything is computed and ``OutOfMemory``.
        """
        self._target.check(image.width, image.height, self._limits)
        width, height = self._target.size(image.width, image.height)
        begin = time.perf_counter()
        try:
            pixels = resample(image, width, height, self._kernel)
        except MemoryError as exc:
            raise OutOfMemory(
                f"{image.width} x {image.height} px at {self._target} do not fit into the host's "
                f"memory; lower {self._target.setting} or run fewer workers"
            ) from exc
        return Upscaled(
            image=replace(image, pixels=pixels),
            tile_grid=TileGrid(scale=self._target.factor(image.width, image.height)),
            model=self.model,
            seconds={"resample": time.perf_counter() - begin},
        )


def resample(image: Image, width: int, height: int, kernel: Kernel) -> Pixels:
    """``image``'s pixels at ``height`` x ``width``, channels and dtype kept, rounded half up.

    Colours are premultiplied by alpha while they are mixed (Porter and Duff, 1984), so what a file holds
    under transparency never bleeds out; alpha itself keeps no ringing (:func:`enlarge_alpha`).
    """
    full = np.float32(image.max_value)
    if image.alpha is None:
        resized = resize_array(image.pixels.astype(np.float32), width, height, kernel)
        return _to_levels(resized, image)
    alpha = image.alpha.astype(np.float32) / full
    premultiplied = image.colour.astype(np.float32) * alpha[..., None]
    # The colour is divided by the same alpha that it was mixed with, ringing included; the result's own
    # alpha is the one without ringing.
    layers = resize_array(np.concatenate([premultiplied, alpha[..., None]], axis=2), width, height, kernel)
    mixed_alpha = layers[..., -1:]
    visible = mixed_alpha > 1.0 / full
    colour = np.divide(layers[..., :-1], mixed_alpha, out=np.zeros_like(layers[..., :-1]), where=visible)
    new_alpha = enlarge_alpha(alpha, width, height, image.pixels.dtype)
    levels = _to_levels(colour, image)
    levels[new_alpha == 0] = 0
    pixels: npt.NDArray[Any] = np.concatenate([levels, new_alpha[..., None]], axis=2)
    return pixels


def _to_levels(values: Floats, image: Image) -> Pixels:
    levels: Pixels = np.floor(np.clip(values + 0.5, 0, image.max_value)).astype(image.pixels.dtype)
    return levels
