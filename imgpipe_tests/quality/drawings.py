"""Seeded drawings in the manner of cel animation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image

U8 = npt.NDArray[Any]
F32 = npt.NDArray[Any]


def draw(seed: int, width: int = 256, height: int = 192, factor: int = 4) -> U8:
    """(height * factor, width * factor, 3): gradient, flat cells with outlines, hair, text, soft texture."""
    rng = np.random.default_rng(seed)
    h, w = height * factor, width * factor
    top, bottom = rng.uniform(90, 255, (2, 3))
    ramp = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    canvas: U8 = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (h, w, 3)).astype(np.float32).copy()
    grain = cv2.resize(
        rng.normal(0, 1, (h // 8, w // 8, 3)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC
    )
    canvas = clip8(canvas + grain * rng.uniform(1.0, 4.0))
    for _ in range(10):
        points = rng.uniform((0, 0), (w, h), (5, 2)).astype(np.int32)
        hull = cv2.convexHull(points)
        cv2.fillPoly(canvas, [hull], rng.uniform(20, 255, 3).tolist(), cv2.LINE_AA)
        cv2.polylines(canvas, [hull], True, (30, 20, 25), 2 * factor, cv2.LINE_AA)
    for _ in range(30):
        start, end = rng.uniform((0, 0), (w, h), (2, 2)).astype(np.int32)
        colour = rng.uniform(20, 120, 3).tolist()
        cv2.line(canvas, start.tolist(), end.tolist(), colour, int(rng.integers(3, 8)), cv2.LINE_AA)
    cv2.putText(
        canvas, "imgpipe", (w // 8, h // 2), cv2.FONT_HERSHEY_SIMPLEX, 3, (10, 10, 40), 6, cv2.LINE_AA
    )
    return canvas


def area(pixels: U8, factor: int = 4) -> U8:
    """Reduced by an integer factor, the mean of each block, rounded."""
    h, w = pixels.shape[0] // factor, pixels.shape[1] // factor
    return cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA).reshape(h, w, *pixels.shape[2:])


def enlarge(pixels: U8, factor: int = 4) -> U8:
    """Lanczos enlargement by Pillow."""
    from PIL import Image as PilImage

    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(PilImage.fromarray(pixels).resize(size, PilImage.Resampling.LANCZOS))


def clip8(values: npt.NDArray[np.generic]) -> U8:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def image(pixels: npt.NDArray[Any]) -> Image:
    return Image(np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None]))
