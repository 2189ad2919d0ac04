"""A canvas for the training drawings: shapes, strokes and light at twice the final size."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Rng: TypeAlias = np.random.Generator
Plane: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[Any]
Colour: TypeAlias = tuple[float, float, float]

#: Canvas pixels per final pixel and axis. cv2 antialiases as well, in :data:`_SHIFT` bits of a canvas pixel.
OVERSAMPLING = 2
_SHIFT = 4


class Canvas:
    """An RGB picture of ``size`` x ``size`` final px, the unit of coordinates and widths; x to the right."""

    def __init__(self, size: int) -> None:
        self.size = size
        edge = size * OVERSAMPLING
        self.pixels: Plane = np.zeros((edge, edge, 3), np.uint8)

    def fill(self, points: Floats, colour: Colour) -> None:
        """Fill the polygon ``points`` (n, 2)."""
        cv2.fillPoly(self.pixels, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: Floats, colour: Colour, width: float, *, closed: bool = False) -> None:
        """A line of one width through ``points`` (n, 2)."""
        thickness = max(1, round(width * OVERSAMPLING))
        cv2.polylines(self.pixels, [_fixed(points)], closed, colour, thickness, cv2.LINE_AA, _SHIFT)

    def stroke(
        self, points: Floats, colour: Colour, width: float, taper: tuple[float, float] = (0, 0)
    ) -> None:
        """A line through ``points`` that is ``width`` wide in its middle, ``taper`` of that at its ends."""
        t = np.linspace(0.0, 1.0, len(points))
        belly = np.sqrt(np.clip(4 * t * (1 - t), 0, 1))
        half = width / 2 * np.maximum(taper[0] * (1 - t) + taper[1] * t, belly)
        side = normals(points) * half[:, None]
        self.fill(np.vstack([points + side, (points - side)[::-1]]), colour)

    def mask(self, points: Floats) -> Plane:
        """The polygon's coverage in 0..255, the canvas' size."""
        plane = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(plane, [_fixed(points)], 255, cv2.LINE_AA, _SHIFT)
        return plane

    def paint(self, colour: Colour | Floats, alpha: Floats) -> None:
        """Lay ``colour`` (or a picture of the canvas' size) over all by ``alpha`` in 0..1, (h, w)."""
        rows, columns = np.nonzero(alpha.max(axis=1) > 0)[0], np.nonzero(alpha.max(axis=0) > 0)[0]
        if not len(rows):
            return
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        paint = np.asarray(colour, np.float32)
        paint = paint[box] if paint.ndim == 3 else paint
        under = self.pixels[box].astype(np.float32)
        mixed = under + (paint - under) * alpha[box][..., None].astype(np.float32)
        self.pixels[box] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)

    def clipped(self, points: Floats) -> Clip:
        """What is painted inside ``with canvas.clipped(points):`` shows inside the polygon alone."""
        return Clip(self, self.mask(points))

    def reduced(self) -> Plane:
        """(size, size, 3) uint8."""
        reduced = cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(reduced, np.uint8)


class Clip:
    """Restores, on leaving, what was painted outside of a mask."""

    def __init__(self, canvas: Canvas, mask: Plane) -> None:
        self._canvas, self._mask = canvas, mask

    def __enter__(self) -> None:
        self._before = self._canvas.pixels.copy()

    def __exit__(self, *_: object) -> None:
        after, self._canvas.pixels = self._canvas.pixels, self._before
        self._canvas.paint(after, self._mask / np.float32(255))


def _fixed(points: Floats) -> npt.NDArray[np.int32]:
    """cv2's fixed-point coordinates; its pixel centres lie at integers."""
    fixed = np.rint((np.asarray(points) * OVERSAMPLING - 0.5) * (1 << _SHIFT))
    return np.clip(fixed, -(1 << 20), 1 << 20).astype(np.int32)[:, None]


def normals(points: Floats) -> Floats:
    """Unit normals (n, 2) of the line through ``points`` (n, 2)."""
    tangent = np.gradient(np.asarray(points, np.float64), axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9))


def spline(points: Floats, *, closed: bool = False, steps: int = 12) -> Floats:
    """Points on the uniform Catmull-Rom spline through ``points`` (n, 2), ``steps`` a section."""
    p = np.asarray(points, np.float64)
    ends = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = np.vstack([ends[0], p, ends[1]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return np.asarray(flat if closed else np.vstack([flat, p[-2:-1]]))


def ellipse(centre: Floats, radii: tuple[float, float], angle: float = 0.0, steps: int = 40) -> Floats:
    """Points (steps, 2) around an ellipse turned by ``angle`` radians."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    p = np.stack([radii[0] * np.cos(t), radii[1] * np.sin(t)], axis=1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(p @ turn + centre)


def blob(rng: Rng, centre: Floats, radius: float, corners: int = 0) -> Floats:
    """A closed round shape of random form."""
    count = corners or int(rng.integers(4, 11))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.2, count)
    lengths = radius * rng.uniform(0.6, 1.25, count)
    p = np.stack([np.cos(angles) * rng.uniform(0.6, 1.3), np.sin(angles)], axis=1) * lengths[:, None]
    return spline(p + centre, closed=True, steps=10)


def wander(rng: Rng, start: Floats, length: float, bend: float = 0.6) -> Floats:
    """An open curve of about ``length`` px from ``start`` on; ``bend``: radians a section."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, 4))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 4
    return spline(np.vstack([start, start + np.cumsum(steps, axis=0)]), steps=10)


def colour(
    rng: Rng, value: tuple[float, float] = (0.15, 1.0), saturation: tuple[float, float] = (0, 0.85)
) -> Colour:
    """A random colour, RGB in 0..255, by HSV."""
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return r * 255, g * 255, b * 255


def near(rng: Rng, base: Colour, spread: float = 20.0, shift: float = 0.0) -> Colour:
    """``base`` with random differences in 0..255, ``shift`` brighter."""
    common = shift + rng.normal(0, spread)
    r, g, b = np.clip(np.asarray(base) + common + rng.normal(0, spread / 3, 3), 0, 255)
    return float(r), float(g), float(b)


def scaled(base: Colour, by: float) -> Colour:
    """``base`` times ``by``, clipped to 255."""
    return min(base[0] * by, 255.0), min(base[1] * by, 255.0), min(base[2] * by, 255.0)


def field(rng: Rng, edge: int, cell: float) -> Floats:
    """Smooth noise (edge, edge) float32 in about -1..1, features of ``cell`` px."""
    count = max(2, round(edge / cell) + 3)
    coarse = rng.uniform(-1, 1, (count, count)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC))


def fractal(rng: Rng, edge: int, cell: float, *, octaves: int = 5, gain: float = 0.55) -> Floats:
    """Sum of :func:`field` of halved cells, each ``gain`` times as strong, in about -1..1."""
    total = np.zeros((edge, edge), np.float32)
    for octave in range(octaves):
        if cell / 2**octave < 1.5:
            break
        total += field(rng, edge, cell / 2**octave) * np.float32(gain**octave)
    return np.asarray(total * (1 - gain))


def soft(plane: Floats, radius: float) -> Floats:
    """``plane`` blurred by a Gaussian of ``radius`` px; large radii at a quarter of the size."""
    if radius < 8:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(radius, 0.1)))
    small = cv2.resize(plane, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), radius / 4)
    return np.asarray(cv2.resize(small, plane.shape[1::-1], interpolation=cv2.INTER_CUBIC)).clip(
        0, plane.max()
    )


def gradient(rng: Rng, edge: int, stops: list[Colour]) -> Floats:
    """A picture (edge, edge, 3) float32 whose colours run through ``stops``, straight or round."""
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32) / edge
    if rng.random() < 0.3:
        t = np.hypot(x - rng.random(), y - rng.random()) / 1.2
    else:
        angle = rng.choice([np.pi / 2, rng.uniform(0, 2 * np.pi)])
        t = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, at, [stop[c] for stop in stops]) for c in range(3)], axis=-1).astype(
        np.float32
    )


def places(rng: Rng, size: int, count: int) -> Iterator[Floats]:
    """``count`` random points of the picture and a little around it."""
    yield from rng.uniform(-0.05 * size, 1.05 * size, (count, 2))
