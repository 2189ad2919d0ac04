"""Seeded drawings in the manner of cel animation, and the damage that tests plant into results."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


def draw(seed: int, width: int = 256, height: int = 192, factor: int = 4) -> U8:
    """(height * factor, width * factor, 3): gradient, flat cells with outlines, hair, text, soft texture."""
    rng = np.random.default_rng(seed)
    h, w = height * factor, width * factor
    top, bottom = rng.uniform(90, 255, (2, 3))
    ramp = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    canvas = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (h, w, 3)).astype(np.float32).copy()
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


def image(pixels: npt.NDArray[np.generic]) -> Image:
    return Image(np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None]))


def _shift(x: F32, strength: float) -> F32:
    pixels = max(1, round(strength))
    x[:, pixels:] = x[:, :-pixels].copy()
    return x


def _patch(x: F32, strength: float) -> F32:
    """The view that patch damages write to: from a third of the picture, 128 px at strength 1."""
    side = int(128 * strength)
    return x[x.shape[0] // 3 :, x.shape[1] // 3 :][:side, :side]


def _erased(x: F32, strength: float) -> F32:
    part = _patch(x, strength / 2)
    part[:] = part.mean(axis=(0, 1))
    return x


def _blurred_patch(x: F32, strength: float) -> F32:
    part = _patch(x, strength)
    part[:] = cv2.GaussianBlur(part, (0, 0), 8)
    return x


def _black(x: F32, strength: float) -> F32:
    _patch(x, strength)[:] = 0
    return x


def _duplicated(x: F32, strength: float) -> F32:
    part = _patch(x, strength)
    part[:] = x[: part.shape[0], : part.shape[1]].copy()
    return x


def _tile_brightness(x: F32, strength: float) -> F32:
    x[x.shape[0] // 2 :, x.shape[1] // 2 :] += 6 * strength
    return x


def _posterised(x: F32, strength: float) -> F32:
    step = 16 * strength
    return np.floor(x / step) * step + step / 2


def _jpeg(x: F32, strength: float) -> F32:
    ok, data = cv2.imencode(".jpg", clip8(x), [cv2.IMWRITE_JPEG_QUALITY, int(30 / strength)])
    assert ok
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32)


def _halo(x: F32, strength: float) -> F32:
    grey = cv2.cvtColor(clip8(x), cv2.COLOR_RGB2GRAY)
    near = cv2.dilate(cv2.Canny(grey, 60, 120), np.ones((9, 9), np.uint8)) > 0
    x[near] += 25 * strength
    return x


DAMAGE: dict[str, Callable[[F32, float], F32]] = {
    "colour_shift": lambda x, k: x + np.float32([3 * k, 0, 0]),
    "gamma": lambda x, k: 255 * (x / 255) ** (1 + 0.08 * k),
    "tile_brightness": _tile_brightness,
    "shift": _shift,
    "blur": lambda x, k: cv2.GaussianBlur(x, (0, 0), 4 * k),
    "ringing": lambda x, k: x + 2 * k * (x - cv2.GaussianBlur(x, (0, 0), 5)),
    "posterise": _posterised,
    "channel_swap": lambda x, k: x[..., ::-1],
    "erased_patch": _erased,
    "blurred_patch": _blurred_patch,
    "black_tile": _black,
    "duplicated_tile": _duplicated,
    "jpeg": _jpeg,
    "halo": _halo,
    "nearest": lambda x, k: np.repeat(np.repeat(area(clip8(x)), 4, 0), 4, 1).astype(np.float32),
}


def plant(name: str, pixels: U8, strength: float = 1.0) -> U8:
    """``pixels`` (height, width, 3) with one kind of :data:`DAMAGE`; 1 is clear, 2 gross, 0.5 slight."""
    return clip8(DAMAGE[name](pixels.astype(np.float32), strength))


EVERYTHING = slice(None)


def plant_seam(pixels: U8, at: int, levels: float, *, vertical: bool = False, span: slice = EVERYTHING) -> U8:
    """A 2 px line of ``levels`` added along row (or column) ``at``, over ``span`` of it."""
    x = pixels.astype(np.float32)
    if vertical:
        x[span, at - 1 : at + 1] += levels
    else:
        x[at - 1 : at + 1, span] += levels
    return clip8(x)


def plant_step(pixels: U8, at: int, levels: float) -> U8:
    """Everything below row ``at`` brighter by ``levels``."""
    x = pixels.astype(np.float32)
    x[at:] += levels
    return clip8(x)
