"""Backgrounds of the drawings. Each returns (height, width, 3) sRGB, uint8 unless its name says 16."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.samples.canvas import Canvas, Colour, Plane, composite, ellipse, smooth
from training.samples.palette import mix


def flat(width: int, height: int, colour: Colour) -> Plane:
    """One colour."""
    return np.full((height, width, 3), colour, np.uint8)


def vertical_gradient_16(width: int, height: int, stops: list[Colour]) -> npt.NDArray[np.uint16]:
    """A gradient through ``stops`` from top to bottom in 16 bits, slightly slanted so that no row is flat."""
    y = np.arange(height)[:, None] / max(1, height - 1)
    x = np.arange(width)[None, :] / max(1, width - 1)
    position = np.clip(0.94 * y + 0.06 * x, 0.0, 1.0) * (len(stops) - 1)
    colours = np.asarray(stops, np.float64) * 257.0
    planes = [np.interp(position, np.arange(len(stops)), colours[:, k]) for k in range(3)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint16)


def vertical_gradient(width: int, height: int, stops: list[Colour]) -> Plane:
    """The same gradient in 8 bits."""
    return np.rint(vertical_gradient_16(width, height, stops) / 257.0).astype(np.uint8)


def night_city(width: int, height: int, rng: np.random.Generator) -> Plane:
    """Busy: two rows of towers with lit windows, a moon and stars."""
    canvas = Canvas(width, height)
    for _ in range(60):
        at = (float(rng.uniform(0, width)), float(rng.uniform(0, 0.5) * height))
        canvas.fill(ellipse(at, *[float(rng.uniform(0.5, 1.3))] * 2, steps=8), (240, 236, 214))
    canvas.fill(ellipse((0.82 * width, 0.15 * height), 0.085 * width, 0.085 * width), (252, 242, 200))
    for body, window, low, high, chance in (
        ((58, 56, 104), (140, 134, 170), 0.30, 0.55, 0.5),
        ((32, 30, 64), (250, 214, 120), 0.48, 0.75, 0.6),
    ):
        x = -10.0
        while x < width:
            w = float(rng.uniform(0.11, 0.19) * width)
            top = float(rng.uniform(low, high) * height)
            canvas.fill([(x, top), (x + w, top), (x + w, height), (x, height)], body)
            for row in np.arange(top + 8, height, 13.0):
                for column in np.arange(x + 5, x + w - 7, 10.0):
                    if rng.random() < chance:
                        colour = mix(window, body, float(rng.uniform(0, 0.4)))
                        pane = [(column, row), (column + 5, row), (column + 5, row + 7), (column, row + 7)]
                        canvas.fill(pane, colour)
            x += w + float(rng.uniform(0, 6))
    return _over(canvas, vertical_gradient(width, height, [(24, 26, 70), (74, 62, 128), (214, 128, 140)]))


def garden(width: int, height: int, rng: np.random.Generator) -> Plane:
    """Busy: layers of leaves, blossoms and spots of light."""
    canvas = Canvas(width, height)
    for layer, (green, count) in enumerate(
        (((52, 116, 92), 420), ((84, 158, 96), 260), ((140, 196, 104), 130))
    ):
        for _ in range(count):
            x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
            angle, length = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(14, 30) - 4 * layer)
            tip = (x + length * np.cos(angle), y + length * np.sin(angle))
            side = (-np.sin(angle) * length * 0.28, np.cos(angle) * length * 0.28)
            mid = ((x + tip[0]) / 2, (y + tip[1]) / 2)
            leaf = smooth(
                [(x, y), (mid[0] + side[0], mid[1] + side[1]), tip, (mid[0] - side[0], mid[1] - side[1])],
                closed=True,
            )
            canvas.fill(leaf, mix(green, (30, 70, 80), float(rng.uniform(0, 0.4))))
            canvas.stroke([(x, y), tip], mix(green, (20, 60, 50), 0.5), 0.8)
    for _ in range(26):
        x, y, r = float(rng.uniform(0, width)), float(rng.uniform(0, height)), float(rng.uniform(3.5, 7))
        petal = ((250, 196, 212), (252, 240, 244), (250, 226, 140))[int(rng.integers(3))]
        for a in np.arange(5) * 2 * np.pi / 5:
            canvas.fill(ellipse((x + r * np.cos(a), y + r * np.sin(a)), r * 0.7, r * 0.7, steps=16), petal)
        canvas.fill(ellipse((x, y), r * 0.45, r * 0.45, steps=16), (236, 166, 60))
    return _over(canvas, flat(width, height, (34, 84, 80)))


def poster(width: int, height: int, words: tuple[str, str], ink: Colour, paper: Colour) -> Plane:
    """Flat, with two lines of lettering and a frame."""
    canvas = Canvas(width, height)
    edge = 9.0
    frame = np.array(
        [(edge, edge), (width - edge, edge), (width - edge, height - edge), (edge, height - edge)]
    )
    canvas.outline(frame, ink, 2.4)
    canvas.outline(frame + np.array([(5, 5), (-5, 5), (-5, -5), (5, -5)]), ink, 0.9)
    canvas.text(words[0], (30, 0.145 * height), ink, 0.085 * height, 3.2)
    canvas.text(words[1], (32, 0.955 * height), ink, 0.034 * height, 1.2)
    return _over(canvas, flat(width, height, paper))


def rays(width: int, height: int, a: Colour, b: Colour, count: int = 14) -> Plane:
    """Sun rays in two colours around the middle."""
    canvas = Canvas(width, height)
    centre, reach = np.array([width / 2, height * 0.45]), float(width + height)
    for k in range(count):
        edges = [2 * np.pi * (k + d) / count for d in (-0.25, 0.25)]
        canvas.fill(
            [tuple(centre), *[tuple(centre + reach * np.array([np.cos(e), np.sin(e)])) for e in edges]], b
        )
    return _over(canvas, flat(width, height, a))


def _over(canvas: Canvas, below: Plane) -> Plane:
    colour, coverage = canvas.reduce()
    return np.asarray(composite(colour, below, coverage), np.uint8)
