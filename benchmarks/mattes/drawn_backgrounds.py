"""Backgrounds that lie close to a subject or are full of small parts: clouds, screen tone."""

from __future__ import annotations

import numpy as np

from training.samples.backgrounds import flat, vertical_gradient
from training.samples.canvas import Canvas, Plane, composite, ellipse
from training.samples.palette import WHITE


def sky(width: int, height: int, rng: np.random.Generator) -> Plane:
    """Blue sky with a few flat clouds over a gradient."""
    canvas = Canvas(width, height)
    for _ in range(5):
        x, y = rng.uniform(0, width), rng.uniform(0.08, 0.8) * height
        size = rng.uniform(0.06, 0.12) * width
        for dx, dy, r in (
            (-1.6, 0.1, 0.7),
            (-0.7, -0.35, 1.0),
            (0.4, -0.5, 1.15),
            (1.4, 0.0, 0.8),
            (0.2, 0.15, 1.0),
        ):
            canvas.fill(ellipse((x + dx * size, y + dy * size * 0.7), r * size, r * size * 0.62), WHITE)
        canvas.fill(ellipse((x, y + 0.45 * size), 2.3 * size, 0.30 * size), (214, 232, 250))
    colour, coverage = canvas.reduce()
    below = vertical_gradient(width, height, [(88, 158, 232), (150, 204, 246), (224, 242, 252)])
    return np.asarray(composite(colour, below, coverage), np.uint8)


def screen_tone(width: int, height: int) -> Plane:
    """Grey: dots that grow towards the bottom, as printed manga shades."""
    canvas = Canvas(width, height)
    pitch = 7.0
    for row, y in enumerate(np.arange(0.0, height + pitch, pitch * 0.866)):
        radius = 0.4 + 2.9 * y / height
        for x in np.arange(-pitch / 2 * (row % 2), width + pitch, pitch):
            canvas.fill(ellipse((float(x), float(y)), radius, radius, steps=14), (120, 120, 120))
    colour, coverage = canvas.reduce()
    return np.asarray(composite(colour, flat(width, height, (246, 246, 246)), coverage), np.uint8)
