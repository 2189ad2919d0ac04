"""Canvas for flat shapes and tapered strokes, with exact coverage by supersampling.

Everything is painted without antialiasing at :data:`SUPERSAMPLING` times the size, on a colour and a coverage
plane. Reducing both by area gives antialiased colour and the exact share of each pixel that was painted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels

Colour = tuple[int, int, int]
Points = npt.NDArray[np.float64]
Plane = npt.NDArray[np.uint8]
PointsLike = Sequence[tuple[float, float]] | Points

#: Sub-pixels per pixel and axis: 4 gives 17 levels of coverage.
SUPERSAMPLING = 4

_SHIFT = 4  # cv2 takes coordinates in sixteenths of a sub-pixel


def smooth(points: PointsLike, *, closed: bool = False, steps: int = 10) -> Points:
    """Points on the uniform Catmull-Rom spline through ``points`` (n, 2), ``steps`` per section."""
    p = np.asarray(points, np.float64)
    before, after = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    padded = np.vstack([before, p, after])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.vstack([flat, p[-1:]])


def ellipse(centre: tuple[float, float], rx: float, ry: float, *, steps: int = 48) -> Points:
    """Points (steps, 2) around an upright ellipse."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack([centre[0] + rx * np.cos(t), centre[1] + ry * np.sin(t)], axis=1)


def lock(
    root: tuple[float, float], tip: tuple[float, float], width: float, bend: float, *, steps: int = 14
) -> Points:
    """A leaf that is ``width`` broad at ``root`` and pointed at ``tip``: one lock of hair.

    ``bend`` moves its middle sideways, in units of its length.
    """
    a, b = np.asarray(root, np.float64), np.asarray(tip, np.float64)
    along = b - a
    across = np.array([-along[1], along[0]])
    middle = (a + b) / 2 + across * bend
    t = np.linspace(0.0, 1.0, steps)[:, None]
    line = (1 - t) ** 2 * a + 2 * (1 - t) * t * middle + t**2 * b
    tangent = 2 * (1 - t) * (middle - a) + 2 * t * (b - middle)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    half = width / 2 * (1 - t**1.7) * (0.75 + 0.5 * np.sin(np.pi * np.minimum(t * 1.3, 1.0)))
    return np.vstack([line + normal * half, (line - normal * half)[::-1]])


class Canvas:
    """Colour (h, w, 3) and coverage (h, w), uint8 RGB, both supersampled.

    Points (n, 2) and widths are in units, x to the right and y down: final px until :meth:`at` places others.
    ``line_px``: width of an ordinary outline.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        size = (height * SUPERSAMPLING, width * SUPERSAMPLING)
        self.colour: Plane = np.zeros((*size, 3), np.uint8)
        self.coverage: Plane = np.zeros(size, np.uint8)
        self.origin, self.unit_px, self.tilt, self.side = (0.0, 0.0), 1.0, 0.0, 1.0

    def at(self, origin: tuple[float, float], unit_px: float, tilt: float = 0.0) -> Canvas:
        """The same planes in units of ``unit_px`` around ``origin`` (px), turned by ``tilt`` degrees."""
        view = copy.copy(self)
        view.origin, view.unit_px, view.tilt = origin, unit_px, tilt
        return view

    def sides(self) -> tuple[Canvas, Canvas]:
        """The same units with x to the left, and as they are: what is drawn on both is symmetric."""
        mirrored = copy.copy(self)
        mirrored.side = -self.side
        return mirrored, self

    @property
    def line_px(self) -> float:
        return max(1.0, self.unit_px * 0.019)

    def mask(self, *shapes: PointsLike) -> Plane:
        """The union of ``shapes`` as a full plane of 0 and 255, to clip later painting."""
        plane = np.zeros_like(self.coverage)
        for shape in shapes:
            cv2.fillPoly(plane, [_fixed(self._placed(shape))], 255, shift=_SHIFT)
        return plane

    def fill(
        self, shape: PointsLike, colour: Colour, to: Colour | None = None, *, clip: Plane | None = None
    ) -> None:
        """Fill a polygon, with a vertical gradient to ``to`` where that is given."""
        p = self._placed(shape)
        box = self._box(p, 1.0)
        if box is None:
            return
        plane = np.zeros((box[1] - box[0], box[3] - box[2]), np.uint8)
        cv2.fillPoly(plane, [_fixed(p, box)], 255, shift=_SHIFT)
        self._paint(plane, box, colour, to, clip)

    def stroke(
        self,
        line: PointsLike,
        colour: Colour,
        width: float,
        *,
        taper: tuple[float, float] = (1.0, 1.0),
        clip: Plane | None = None,
    ) -> None:
        """A line through ``line``; ``taper`` is the share of the width at its start and its end."""
        self._line(self._placed(line), colour, width * self.unit_px, taper, clip)

    def outline(self, shape: PointsLike, colour: Colour, width_px: float) -> None:
        """The border of a polygon; half of the width, in px, lies outside."""
        p = self._placed(shape)
        self._line(np.vstack([p, p[:1]]), colour, width_px)

    def shape(self, shape: PointsLike, colour: Colour, line: Colour, *, width: float = 1.0) -> None:
        """An area with its outline; ``width`` in ordinary outlines."""
        self.outline(shape, line, self.line_px * 2 * width)
        self.fill(shape, colour)

    def group(self, shapes: Sequence[PointsLike], colour: Colour, line: Colour) -> None:
        """Merge shapes: draw all borders first, then all areas over them."""
        for shape in shapes:
            self.outline(shape, line, self.line_px * 2)
        for shape in shapes:
            self.fill(shape, colour)

    def limb(self, line: PointsLike, colour: Colour, outline: Colour, width: float) -> None:
        """A round-ended tube with an outline."""
        self.stroke(line, outline, width + 2 * self.line_px / self.unit_px)
        self.stroke(line, colour, width)

    def text(
        self, text: str, origin: tuple[float, float], colour: Colour, height_px: float, width_px: float
    ) -> None:
        """Lettering in cv2's duplex font; ``origin`` is its lower left corner."""
        font = cv2.FONT_HERSHEY_DUPLEX
        thickness = max(1, round(width_px * SUPERSAMPLING))
        scale = cv2.getFontScaleFromHeight(font, round(height_px * SUPERSAMPLING), thickness)
        at = (round(origin[0] * SUPERSAMPLING), round(origin[1] * SUPERSAMPLING))
        plane = np.zeros_like(self.coverage)
        cv2.putText(plane, text, at, font, scale, 255, thickness, cv2.LINE_8)
        self._paint(plane, (0, plane.shape[0], 0, plane.shape[1]), colour, None, None)

    def reduce(self) -> tuple[Plane, Plane]:
        """(colour (h, w, 3), coverage (h, w)), uint8: straight colours, 0 where nothing was painted."""
        size = (self.width, self.height)
        share = cv2.resize(self.coverage.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        sums = cv2.resize(self.colour.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        straight = sums / np.maximum(share, 1e-3)[..., None] * 255.0
        straight[share <= 0] = 0.0
        colour: Plane = np.clip(np.rint(straight), 0, 255).astype(np.uint8)
        coverage: Plane = np.rint(share).astype(np.uint8)
        return colour, coverage

    def _placed(self, points: PointsLike) -> Points:
        """Units as px."""
        angle = math.radians(self.tilt)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        p = np.asarray(points, np.float64) * (self.side, 1.0)
        placed: Points = p @ turn * self.unit_px + np.asarray(self.origin, np.float64)
        return placed

    def _line(
        self,
        p: Points,
        colour: Colour,
        width_px: float,
        taper: tuple[float, float] = (1.0, 1.0),
        clip: Plane | None = None,
    ) -> None:
        box = self._box(p, width_px)
        if box is None:
            return
        plane = np.zeros((box[1] - box[0], box[3] - box[2]), np.uint8)
        fixed = _fixed(p, box)[:, 0]
        t = np.linspace(0.0, 1.0, len(p))
        ends = taper[0] * (1 - t) + taper[1] * t
        belly = 4 * t * (1 - t) if min(taper) < 1.0 else np.ones_like(t)
        share = np.maximum(ends, belly)
        for start, end, part in zip(fixed[:-1], fixed[1:], share[:-1], strict=True):
            thickness = max(1, round(width_px * SUPERSAMPLING * float(part)))
            cv2.line(plane, start.tolist(), end.tolist(), 255, thickness, cv2.LINE_8, _SHIFT)
        self._paint(plane, box, colour, None, clip)

    def _box(self, p: Points, margin_px: float) -> tuple[int, int, int, int] | None:
        """(top, bottom, left, right) in sub-pixels around ``p``, or nothing where it is off the canvas."""
        low = np.floor((p.min(axis=0) - margin_px) * SUPERSAMPLING).astype(int)
        high = np.ceil((p.max(axis=0) + margin_px) * SUPERSAMPLING).astype(int) + 1
        rows, columns = self.coverage.shape
        top, bottom = max(0, int(low[1])), min(rows, int(high[1]))
        left, right = max(0, int(low[0])), min(columns, int(high[0]))
        return None if top >= bottom or left >= right else (top, bottom, left, right)

    def _paint(
        self,
        plane: Plane,
        box: tuple[int, int, int, int],
        colour: Colour,
        to: Colour | None,
        clip: Plane | None,
    ) -> None:
        where = np.s_[box[0] : box[1], box[2] : box[3]]
        if clip is not None:
            plane = np.bitwise_and(plane, clip[where])
        self.coverage[where] |= plane
        if to is None:
            paint = np.full((*plane.shape, 3), colour, np.uint8)
        else:
            t = np.linspace(0.0, 1.0, plane.shape[0])[:, None, None]
            paint = np.broadcast_to(np.asarray(colour) * (1 - t) + np.asarray(to) * t, (*plane.shape, 3))
            paint = np.rint(paint).astype(np.uint8)
        cv2.copyTo(paint, plane, self.colour[where])


def composite(foreground: Pixels, backdrop: Pixels, coverage: Plane) -> Pixels:
    """Foreground (h, w, c) with ``coverage`` (h, w) of 0..255 over the backdrop, rounded, in its dtype."""
    alpha = coverage[..., None] / 255.0
    return cast(Pixels, np.rint(foreground * alpha + backdrop * (1.0 - alpha)).astype(foreground.dtype))


def _fixed(points: Points, box: tuple[int, int, int, int] = (0, 0, 0, 0)) -> npt.NDArray[np.int32]:
    """(n, 1, 2) fixed-point coordinates relative to the box; pixel centres lie at integers for cv2."""
    p = points * SUPERSAMPLING - 0.5 - np.array([box[2], box[0]])
    fixed: npt.NDArray[np.int32] = np.rint(p * (1 << _SHIFT)).astype(np.int32)[:, None]
    return fixed
