"""Enlarging without a network: Lanczos or bicubic."""

from __future__ import annotations

import time
from dataclasses import replace

from imgpipe.images.image import Image
from imgpipe.images.metadata import with_upscaler
from imgpipe.pixels.resize import Kernel, resize
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings
from imgpipe.upscaling.upscaler import TargetSize, Upscaled


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

    @property
    def network_scale(self) -> int:
        """No network."""
        return 0

    def native_bytes(self, width: int, height: int) -> int:
        """No network."""
        return 0

    def upscale(self, image: Image, size: tuple[int, int] | None = None) -> Upscaled:
        """Enlarge ``image``; its channels, bit depth, profile and metadata stay.

        Raises ``LimitExceeded`` before anything is computed and ``OutOfMemory``.
        """
        target = self._target if size is None else replace(self._target, exact=size)
        width, height = target.size(image.width, image.height)
        begin = time.perf_counter()
        with target.within(self._limits, image.width, image.height):
            resized = resize(image, width, height, self._kernel, colourless_levels=1.0)
        return Upscaled(
            image=replace(resized, xmp=with_upscaler(resized.xmp, self.model.name)),
            tile_grid=TileGrid(scale=target.factor(image.width, image.height)),
            model=self.model,
            seconds={"resample": time.perf_counter() - begin},
        )
