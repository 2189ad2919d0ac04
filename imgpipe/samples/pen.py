"""Drawing in a character's own coordinates: the head is about 2 units wide, x to the right, y down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imgpipe.samples.canvas import Canvas, Colour, Plane, Points, PointsLike


@dataclass(frozen=True, slots=True)
class Pen:
    """Places unit coordinates on a canvas: scaled by ``unit_px``, turned by ``tilt`` degrees, moved."""

    canvas: Canvas
    origin: tuple[float, float]
    unit_px: float
    tilt: float = 0.0
    mirrored: bool = False

    def place(self, points: PointsLike) -> Points:
        """Unit points (n, 2) as canvas px."""
        p = np.asarray(points, np.float64).copy()
        if self.mirrored:
            p[:, 0] *= -1
        angle = math.radians(self.tilt)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        placed: Points = p @ turn * self.unit_px + np.asarray(self.origin, np.float64)
        return placed

    @property
    def line_px(self) -> float:
        """Width of an ordinary outline."""
        return max(1.0, self.unit_px * 0.019)

    def fill(
        self, shape: PointsLike, colour: Colour, to: Colour | None = None, *, clip: Plane | None = None
    ) -> None:
        self.canvas.fill(self.place(shape), colour, to, clip=clip)

    def shape(
        self, shape: PointsLike, colour: Colour, line: Colour, *, to: Colour | None = None, width: float = 1.0
    ) -> None:
        """An area with its outline; ``width`` in ordinary outlines."""
        placed = self.place(shape)
        self.canvas.outline(placed, line, self.line_px * 2 * width)
        self.canvas.fill(placed, colour, to)

    def group(self, shapes: list[Points], colour: Colour, line: Colour) -> None:
        self.canvas.group([self.place(shape) for shape in shapes], colour, line, self.line_px)

    def stroke(
        self,
        line: PointsLike,
        colour: Colour,
        width: float,
        *,
        taper: tuple[float, float] = (1.0, 1.0),
        clip: Plane | None = None,
    ) -> None:
        """A line of ``width`` units."""
        self.canvas.stroke(self.place(line), colour, width * self.unit_px, taper=taper, clip=clip)

    def limb(self, line: PointsLike, colour: Colour, outline: Colour, width: float) -> None:
        """A round-ended tube of ``width`` units with an outline."""
        self.stroke(line, outline, width + 2 * self.line_px / self.unit_px)
        self.stroke(line, colour, width)

    def mask(self, *shapes: PointsLike) -> Plane:
        return self.canvas.mask(*(self.place(shape) for shape in shapes))
