"""Tiny drawings, all different."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from imgpipe.images.encode import encode
from imgpipe.images.image import Image


def drawing(seed: int, size: int = 24) -> bytes:
    """A PNG of a disc on a plain ground, antialiased; other seeds give other bytes."""
    rng = np.random.default_rng(seed)
    ground, ink = rng.integers(180, 256, 3), rng.integers(0, 120, 3)
    y, x = np.mgrid[: 4 * size, : 4 * size] / 4 - size / 2
    inside = np.hypot(x, y) < size * rng.uniform(0.25, 0.4)
    pixels = np.where(inside[..., None], ink, ground).astype(float)
    small = pixels.reshape(size, 4, size, 4, 3).mean(axis=(1, 3))
    small[0, 0] = [seed & 255, seed >> 8 & 255, seed >> 16 & 255]
    return encode(Image(np.floor(small + 0.5).astype(np.uint8)))


def put(folder: Path, *names: str, seed: int = 0) -> None:
    """Drawings by name; the seed and the name make the picture."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing(seed + zlib.crc32(name.encode()) % 10**6))
