"""sRGB (IEC 61966-2-1): its transfer function, odd-symmetric beyond 0..1, and a profile."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def srgb_encoded(linear: Floats) -> Floats:
    """Linear light as R'G'B'; any shape, float32, 1.0 = white."""
    size = np.abs(linear)
    curved = np.power(size, np.float32(1 / 2.4)) * np.float32(1.055) - np.float32(0.055)
    return np.copysign(np.where(size <= np.float32(0.0031308), size * np.float32(12.92), curved), linear)


def srgb_linear(encoded: Floats) -> Floats:
    """The inverse of :func:`srgb_encoded`."""
    size = np.abs(encoded)
    curved = np.power((size + np.float32(0.055)) * np.float32(1 / 1.055), np.float32(2.4))
    return np.copysign(np.where(size <= np.float32(0.04045), size * np.float32(1 / 12.92), curved), encoded)


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB matrix profile, the same bytes on every day: its creation date is fixed."""
    from PIL import ImageCms

    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    fixed_date = np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes()
    return made[:24] + fixed_date + made[36:]
