"""Damage to enlargements that is finer than a source pixel, three strengths each, seeded.

Every function takes the source and its clean result (height, width, 3), uint8, the strength 0..2, a
generator and the upscaler that made the result, and returns a damaged result; ``None`` where the picture
has no place for it, or where nobody would see it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[Any]
Rng = np.random.Generator
#: A source -> its enlargement by the factor that the bench uses.
Enlarge = Callable[[Pixels], Pixels]
Damage = Callable[[Pixels, Pixels, int, Rng, Enlarge], Pixels | None]

#: A change that is smaller on average (1/255), where it is largest, is not seen.
_VISIBLE = 2.0
_PATCHES = 4


def _levels(values: Plane) -> Pixels:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)


def _grey(pixels: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)


def checkerboard(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Squares of 1 or 2 px, brighter and darker by turns, over the whole picture."""
    px = int(rng.integers(1, 3))
    down, across = np.indices(result.shape[:2]) // px
    sign = np.asarray((down + across) % 2 * 2 - 1)[..., None]
    return _levels(result + sign * (3.0, 6.0, 12.0)[level])


def dead_pixels(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Single pixels that are black, white or of one full channel: 20, 80 or 320 in a million."""
    damaged = result.copy()
    height, width = result.shape[:2]
    for _ in range(max(1, round(height * width * (20e-6, 80e-6, 320e-6)[level]))):
        y, x = rng.integers(height), rng.integers(width)
        full = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0))[rng.integers(4)]
        damaged[y, x] = full
    return damaged


def tile_noise(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Noise of sigma 4, 8 or 16 on one square of 256 px."""
    damaged = result.astype(np.float32)
    rows, columns = _somewhere(result, 256, rng)
    damaged[rows, columns] += rng.normal(0, (4.0, 8.0, 16.0)[level], damaged[rows, columns].shape)
    return _levels(damaged)


def paint(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Smoothed to flat areas, edges kept: a bilateral filter, or a median of the channels."""
    if rng.random() < 0.5:
        sigma, width = (25.0, 50.0, 100.0)[level], (4.0, 6.0, 8.0)[level]
        damaged = cv2.bilateralFilter(result, -1, sigma, width)
    else:
        damaged = cv2.medianBlur(result, (7, 11, 17)[level])
    return _seen(result, np.asarray(damaged, np.uint8))


def smaller_source(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Made from the source reduced by 1.25, 1.5 or 2."""
    factor = (1.25, 1.5, 2.0)[level]
    size = round(source.shape[1] / factor), round(source.shape[0] / factor)
    small = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.uint8)
    whole = result.shape[1], result.shape[0]
    return np.asarray(cv2.resize(enlarge(small), whole, interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Stored as JPEG 4:2:0 of quality 70, 40 or 20 on the way."""
    options = [cv2.IMWRITE_JPEG_QUALITY, (70, 40, 20)[level]]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    stored = cv2.imencode(".jpg", np.ascontiguousarray(result[..., ::-1]), options)[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def sharpened(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Unsharp mask of sigma 1.5 to 3 px, amount 0.75, 1.5 or 3."""
    values = result.astype(np.float32)
    soft = cv2.GaussianBlur(values, (0, 0), float(rng.uniform(1.5, 3.0)))
    return _levels(values + (0.75, 1.5, 3.0)[level] * (values - soft))


def scratch(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """A line of 1 px across a third of the picture, straight in any direction, 12, 25 or 50 brighter."""
    height, width = result.shape[:2]
    length, turn = min(height, width) / 2.0, rng.uniform(0, np.pi)
    x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
    step = np.array([np.cos(turn), np.sin(turn)]) * length / 2
    mask = np.zeros((height, width), np.uint8)
    ends = [tuple(int(v) for v in np.rint(np.array([x, y]) + sign * step)) for sign in (-1, 1)]
    cv2.line(mask, ends[0], ends[1], 1, 1, cv2.LINE_8)
    damaged = result.astype(np.float32)
    brighter = 1 if damaged[mask > 0].mean() < 128 else -1
    damaged[mask > 0] += brighter * (12.0, 25.0, 50.0)[level]
    return _levels(damaged)


def melted(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Detail that runs: four discs of 96 px full of detail, displaced by waves of 3, 6 or 12 px."""
    places = _detailed(result, 96, rng)
    if not places:
        return None
    height, width = result.shape[:2]
    away = np.zeros((2, height, width), np.float32)
    for axis in range(2):
        waves = rng.normal(0, 1, (height // 12 + 1, width // 12 + 1)).astype(np.float32)
        away[axis] = cv2.resize(waves, (width, height), interpolation=cv2.INTER_CUBIC)
    away *= (3.0, 6.0, 12.0)[level] * _discs(result, places, 48)
    ys, xs = np.indices((height, width), np.float32)
    damaged = cv2.remap(result, xs + away[0], ys + away[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return _seen(result, np.asarray(damaged, np.uint8))


def erased(source: Pixels, result: Pixels, level: int, rng: Rng, enlarge: Enlarge) -> Pixels | None:
    """Four discs of 24, 48 or 96 px full of detail, filled from around them."""
    size = (24, 48, 96)[level]
    places = _detailed(result, size, rng)
    if not places:
        return None
    mask = np.asarray(_discs(result, places, size // 2) > 0.02, np.uint8)
    damaged = cv2.inpaint(result, mask, 3, cv2.INPAINT_TELEA)
    return _seen(result, np.asarray(damaged, np.uint8))


def _seen(result: Pixels, damaged: Pixels) -> Pixels | None:
    """``damaged`` where the mean change over some 16 px square is at least visible."""
    change = cv2.absdiff(result, damaged).max(axis=2).astype(np.float32)
    return damaged if cv2.blur(change, (16, 16)).max() >= _VISIBLE else None


def _somewhere(result: Pixels, size: int, rng: Rng) -> tuple[slice, slice]:
    top, left = (int(rng.integers(0, max(1, side - size))) for side in result.shape[:2])
    return slice(top, top + size), slice(left, left + size)


def _detailed(result: Pixels, size: int, rng: Rng) -> list[tuple[int, int]]:
    """Centres (x, y) of squares of ``size`` that are among the fifth with the most detail and have a visible
    amount of it, apart from each other."""
    grey = _grey(result)
    detail = cv2.blur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 4.0)), (size, size))
    inner = detail[size:-size, size:-size]
    ys, xs = np.nonzero(inner >= max(4.0, float(np.quantile(inner, 0.8))))
    places: list[tuple[int, int]] = []
    for pick in rng.permutation(ys.size)[:400]:
        x, y = int(xs[pick]) + size, int(ys[pick]) + size
        if all(max(abs(x - u), abs(y - v)) > 2 * size for u, v in places):
            places.append((x, y))
    return places[:_PATCHES]


def _discs(result: Pixels, places: list[tuple[int, int]], radius: int) -> Plane:
    mask = np.zeros(result.shape[:2], np.float32)
    for place in places:
        cv2.circle(mask, place, radius, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), radius / 8), np.float32)


#: Kind -> how it is planted.
DAMAGE: dict[str, Damage] = {
    "checkerboard of 1 to 2 px, levels 3 / 6 / 12": checkerboard,
    "dead pixels, of a million 20 / 80 / 320": dead_pixels,
    "noise on a tile, sigma 4 / 8 / 16": tile_noise,
    "smoothed to paint": paint,
    "made from a source smaller by 1.25 / 1.5 / 2": smaller_source,
    "JPEG 4:2:0, quality 70 / 40 / 20": jpeg,
    "sharpened, amount 0.75 / 1.5 / 3": sharpened,
    "scratch of 1 px, levels 12 / 25 / 50": scratch,
    "melted detail, px 3 / 6 / 12": melted,
    "erased detail, discs of 24 / 48 / 96 px": erased,
}
