"""Pictures for the enhancement tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe_tests.images import sources

Array = npt.NDArray[Any]


def waves(height: int, width: int, channels: int = 3, depth: int = 8) -> Array:
    """(height, width, channels): smooth and without symmetry; alpha, if any, from 0 to full."""
    y, x = np.mgrid[0:height, 0:width] / 24.0
    planes = [0.5 + 0.45 * np.sin(2 * x + (k + 1) * y + k) for k in range(channels)]
    if channels in (2, 4):
        planes[-1] = np.clip(planes[-1] * 1.4 - 0.2, 0, 1)
    top = (1 << depth) - 1
    return np.round(np.dstack(planes) * top).astype(np.uint8 if depth == 8 else np.uint16)


def noise(height: int, width: int, channels: int = 3, *, seed: int = 0) -> Array:
    """Incompressible: every value equally likely."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def tagged(pixels: Array, icc: bytes | None = None) -> Image:
    """With a profile, EXIF and XMP."""
    return Image(pixels, icc or sources.display_p3(), sources.exif(1), sources.XMP % 1, "PNG", ("a note",))


def disc(size: int, radius: float, hidden: int) -> Array:
    """(size, size, 4): an opaque disc of (180, 120, 40), ``hidden`` in all channels under alpha 0."""
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    inside = x**2 + y**2 <= radius**2
    pixels = np.full((size, size, 4), hidden, np.uint8)
    pixels[..., 3] = 0
    pixels[inside] = (180, 120, 40, 255)
    return pixels
