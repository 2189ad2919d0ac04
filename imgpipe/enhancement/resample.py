"""Resizing whose lack of memory names the settings of enhancement."""

from __future__ import annotations

from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel, resize


def resample(image: Image, width: int, height: int, kernel: Kernel) -> Image:
    """``image`` at ``width`` x ``height`` px, by :func:`imgpipe.pixels.resize.resize`.

    Raises :class:`ImageError` for sizes below 1 px and :class:`OutOfMemory`.
    """
    try:
        return resize(image, width, height, kernel)
    except MemoryError as exc:
        raise OutOfMemory(
            f"{image.width}x{image.height} px resized to {width}x{height} px do not fit into the host's "
            "memory; run fewer workers, or lower enhance.scale_factor, min_width and min_height"
        ) from exc
