"""Damage to clean mattes, three strengths each, seeded; ``None`` where there is no room for it.

Every function takes the picture (height, width, 3), the matte (height, width), both uint8, the strength 0..2
and a generator, and returns a matte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from mattes.cases import Pixels

Rng = np.random.Generator
Plane = np.ndarray[Any, Any]


def _disc(radius: int) -> Plane:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _times(alpha: Pixels, factor: Any) -> Pixels:
    return np.asarray(np.rint(alpha * factor).clip(0, 255), np.uint8)


def _size(alpha: Pixels) -> float:
    return float(np.sqrt(np.count_nonzero(alpha > 127)))


def _depth(mask: Plane) -> Plane:
    """Distance to the mask's outside or the picture's sides, px."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1])


def _ellipse(shape: tuple[int, ...], where: Plane, radius: float, rng: Rng) -> Plane | None:
    """1 within an ellipse whose centre is one of ``where``."""
    ys, xs = np.nonzero(where)
    if not ys.size:
        return None
    pick = int(rng.integers(ys.size))
    plane = np.zeros(shape, np.float32)
    axes = int(radius), int(radius * rng.uniform(0.65, 1))
    centre = int(xs[pick]), int(ys[pick])
    return cv2.ellipse(plane, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)


def _inside(alpha: Pixels, radius: float, rng: Rng) -> Plane | None:
    depth = _depth(alpha > 240)
    return _ellipse(alpha.shape, depth >= min(1.1 * radius, float(depth.max())), radius, rng)


def cut(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    rows = np.flatnonzero((alpha > 127).any(axis=1))
    whole = alpha.copy()
    whole[round(rows[-1] + 1 - np.ptp(rows) * (0.12, 0.25, 0.4)[level]) :] = 0
    return whole


def hole(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    disc = _inside(alpha, _size(alpha) * (0.06, 0.1, 0.16)[level], rng)
    return None if disc is None else _times(alpha, 1 - disc)


def inner_disc(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    disc = _inside(alpha, _size(alpha) * 0.2, rng)
    return None if disc is None else _times(alpha, 1 - (0.1, 0.3, 0.5)[level] * disc)


def whole_faint(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    return _times(alpha, (0.95, 0.85, 0.7)[level])


def apart(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    radius = _size(alpha) * (0.08, 0.14, 0.22)[level]
    disc = _ellipse(alpha.shape, _depth(alpha < 10) > 1.1 * radius + 6, radius, rng)
    return None if disc is None else np.maximum(alpha, _times(disc, 255))


def attached(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    radius = _size(alpha) * (0.1, 0.18, 0.28)[level]
    depth = _depth(alpha < 10)
    disc = _ellipse(alpha.shape, (depth > 0.3 * radius) & (depth < 0.7 * radius), radius, rng)
    return None if disc is None else np.maximum(alpha, _times(disc, 255))


def _object(picture: Pixels, alpha: Pixels, level: int, rng: Rng, touching: bool) -> Pixels | None:
    """A region of the background between its own edges."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.5)
    steps = cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(axis=2)
    plain = ((steps < 10) & (alpha < 10)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(plain, connectivity=4)
    wanted = (_size(alpha) * (0.14, 0.25, 0.4)[level]) ** 2
    near = cv2.dilate((alpha > 127).astype(np.uint8), _disc(6)) > 0
    fit = [
        label
        for label in range(1, count)
        if wanted / 3 < stats[label, cv2.CC_STAT_AREA] < wanted * 3
        and bool(near[labels == label].any()) == touching
    ]
    if not fit:
        return None
    region = (labels == fit[int(rng.integers(len(fit)))]).astype(np.uint8)
    closed = cv2.dilate(cv2.morphologyEx(region, cv2.MORPH_CLOSE, _disc(3)), _disc(4 if touching else 3))
    return np.maximum(alpha, cv2.GaussianBlur(closed * 255, (0, 0), 0.7).astype(np.uint8))


def object_apart(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    return _object(picture, alpha, level, rng, touching=False)


def object_attached(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels | None:
    return _object(picture, alpha, level, rng, touching=True)


def halo(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    return cv2.dilate(alpha, _disc((2, 4, 8)[level])).astype(np.uint8)


def faint_halo(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    wide = cv2.GaussianBlur(cv2.dilate(alpha, _disc((3, 5, 9)[level])), (0, 0), 1.5)
    return np.maximum(alpha, _times(wide.astype(np.uint8), 0.6))


def feathered(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    return cv2.GaussianBlur(alpha, (0, 0), (3, 6, 12)[level]).astype(np.uint8)


def haze(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    return np.asarray(np.maximum(alpha, (13, 31, 64)[level]), np.uint8)


def fading_haze(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    away = cv2.distanceTransform((alpha < 128).astype(np.uint8), cv2.DIST_L2, 5)
    reach = 0.12 * float(np.sqrt(alpha.size))
    faint = np.rint((30, 70, 130)[level] * np.exp(-away / reach))
    return np.asarray(np.maximum(alpha, faint), np.uint8)


def inverted(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    return np.asarray(255 - alpha, np.uint8)


def eroded(picture: Pixels, alpha: Pixels, level: int, rng: Rng) -> Pixels:
    """By 1 px in four directions, 1 px in eight (both merely tight), 4 px."""
    kernels = (_disc(1), np.ones((3, 3), np.uint8), _disc(4))
    return cv2.erode(alpha, kernels[level]).astype(np.uint8)


DAMAGE: dict[str, Callable[[Pixels, Pixels, int, Rng], Pixels | None]] = {
    function.__name__: function
    for function in (
        cut,
        hole,
        inner_disc,
        whole_faint,
        apart,
        object_apart,
        attached,
        object_attached,
        halo,
        faint_halo,
        feathered,
        haze,
        fading_haze,
        inverted,
        eroded,
    )
}
