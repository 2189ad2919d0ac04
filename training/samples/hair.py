"""Hair: a back part behind the head, bangs in front of it, and single strands that leave the silhouette."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.samples.canvas import Canvas, Points, lock, smooth
from training.samples.face import HEAD
from training.samples.palette import Tone, mix

Style = Literal["long", "bob", "twintails", "ponytail", "short", "spiky"]
Bangs = Literal["straight", "parted", "swept"]

_BACK_CROWN = [(-1.02, 0.35), (-1.10, -0.25), (-0.92, -0.88), (-0.42, -1.24), (0.0, -1.30),
               (0.42, -1.24), (0.92, -0.88), (1.10, -0.25), (1.02, 0.35)]  # fmt: skip

#: Number of points of a lock, which distinguishes it from a plain shape.
_LOCK_POINTS = len(lock((0, 0), (0, 1), 1, 0))

#: The part of the hair that lies on the skull, with the hairline as its lower border.
_CAP: Points = smooth(
    [(-0.93, 0.12), (-1.04, -0.30), (-0.90, -0.84), (-0.42, -1.20), (0.0, -1.27), (0.42, -1.20),
     (0.90, -0.84),
     (1.04, -0.30), (0.93, 0.12), (0.74, -0.22), (0.42, -0.50), (0.0, -0.58), (-0.42, -0.50), (-0.74, -0.22)],
    closed=True,
)  # fmt: skip

#: Tips of the bangs, x and y, from left to right.
_BANGS: dict[Bangs, list[tuple[float, float]]] = {
    "straight": [(-0.70, 0.16), (-0.47, 0.08), (-0.23, 0.05), (0.02, 0.08), (0.26, 0.04), (0.50, 0.09),
                 (0.71, 0.17)],
    "parted": [(-0.80, 0.34), (-0.62, 0.14), (-0.42, 0.00), (-0.20, -0.18), (0.22, -0.16), (0.44, 0.02),
               (0.64, 0.15),
               (0.82, 0.36)],
    "swept": [(-0.78, 0.22), (-0.52, 0.16), (-0.24, 0.15), (0.04, 0.12), (0.30, 0.04), (0.56, -0.06),
              (0.80, 0.20)],
}  # fmt: skip

#: Lower end of the locks beside the face.
_SIDE_LOCKS: dict[Style, float] = {
    "long": 1.25, "bob": 0.92, "twintails": 1.0, "ponytail": 0.85, "short": 0.45, "spiky": 0.40,
}  # fmt: skip

#: Half the width of the hair beside the neck, and the lowest place where single strands leave it.
_EDGE: dict[Style, tuple[float, float]] = {
    "long": (1.20, 1.7), "bob": (1.12, 0.75), "twintails": (0.98, 0.1),
    "ponytail": (0.98, 0.3), "short": (0.98, 0.35), "spiky": (0.96, 0.2),
}  # fmt: skip


def draw_back(pen: Canvas, hair: Tone, style: Style, rng: np.random.Generator) -> None:
    """Hair behind head and body."""
    shapes = _back_shapes(style, rng)
    pen.group(shapes, mix(hair.base, hair.shade, 0.5) if style == "spiky" else hair.shade, hair.line)
    inside = pen.mask(*shapes)
    for shape in (leaf for leaf in shapes if len(leaf) == _LOCK_POINTS):
        half = _LOCK_POINTS // 2
        middle = (shape[:half] + shape[half:][::-1]) / 2
        pen.stroke(middle[4:-2], hair.line, 0.022, taper=(0.2, 0.2), clip=inside)


def _back_shapes(style: Style, rng: np.random.Generator) -> list[Points]:
    shapes = [smooth([*_BACK_CROWN, (0.70, 0.80), (-0.70, 0.80)], closed=True)]
    if style == "long":
        shapes += [
            smooth([(-1.05, -0.2), (-1.22, 0.7), (-1.30, 1.6), (-1.18, 2.3), (1.18, 2.3), (1.30, 1.6),
                    (1.22, 0.7),
                    (1.05, -0.2)], closed=True),
            *_hanging(np.linspace(-1.15, 1.15, 9), 1.5, 2.75, 0.42, rng),
        ]  # fmt: skip
    elif style == "bob":
        shapes += [
            smooth([(-1.05, -0.2), (-1.20, 0.5), (-1.05, 1.05), (1.05, 1.05), (1.20, 0.5),
                    (1.05, -0.2)], closed=True),
            *_hanging(np.linspace(-0.98, 0.98, 8), 0.6, 1.30, 0.36, rng),
        ]  # fmt: skip
    elif style == "twintails":
        for side in (-1.0, 1.0):
            root = (side * 0.98, -0.55)
            for x, y, width, bend in (
                (1.60, 1.75, 0.60, 0.22),
                (1.36, 2.1, 0.58, 0.18),
                (1.80, 1.25, 0.44, 0.26),
            ):
                shapes.append(lock(root, (side * x, y + rng.uniform(-0.1, 0.1)), width, -side * bend))
    elif style == "ponytail":
        for x, y, width, bend in (
            (1.55, 1.7, 0.62, -0.32),
            (1.95, 1.1, 0.5, -0.34),
            (1.2, 2.05, 0.45, -0.26),
        ):
            shapes.append(lock((0.35, -1.05), (x, y + rng.uniform(-0.1, 0.1)), width, bend))
    else:
        shapes += _hanging(np.linspace(-0.85, 0.85, 7), 0.3, 0.98, 0.40, rng)
    if style == "spiky":
        for angle in np.linspace(-205, 25, 10):
            a = np.radians(angle + rng.uniform(-5, 5))
            reach = rng.uniform(1.42, 1.66)
            root = (0.66 * np.cos(a - 0.25), -0.25 + 0.66 * np.sin(a - 0.25))
            tip = (reach * np.cos(a + 0.14), -0.25 + reach * np.sin(a + 0.14))
            shapes.append(lock(root, tip, 0.86, rng.uniform(0.08, 0.2)))
    return shapes


def draw_front(pen: Canvas, hair: Tone, style: Style, bangs: Bangs, rng: np.random.Generator) -> None:
    """Cap, bangs and side locks, with a shadow on the face and a band of light."""
    shapes = [_CAP]
    tips = _BANGS[bangs]
    sweep = -0.18 if bangs == "swept" else 0.0
    for x, y in tips:
        root = (x * 0.72 + sweep * -1.2, -0.78)
        tip = (x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.04, 0.05))
        shapes.append(lock(root, tip, 0.40, rng.uniform(-0.05, 0.05) + sweep + 0.05 * np.sign(x)))
    length = _SIDE_LOCKS[style]
    for side in (-1.0, 1.0):
        tip = (side * 0.80, length + rng.uniform(-0.06, 0.06))
        shapes.append(lock((side * 0.88, -0.50), tip, 0.30, side * 0.07))
    _paint_front(pen, hair, shapes, rng)


def _paint_front(pen: Canvas, hair: Tone, shapes: list[Points], rng: np.random.Generator) -> None:
    inside = pen.mask(*shapes)
    pen.group(shapes, hair.base, hair.line)
    # The side away from the light, then the band of light: a zigzag along the skull.
    dark = smooth([(0.30, -1.3), (0.66, -0.85), (0.74, -0.35), (0.66, 0.2), (0.78, 1.4)])
    pen.fill(np.vstack([dark, [(1.4, 1.4), (1.4, -1.3)]]), hair.shade, clip=inside)
    xs = np.linspace(-0.80, 0.58, 19)
    top = -0.88 + 0.26 * xs**2
    zigzag = np.where(np.arange(19) % 2 == 0, 0.03, rng.uniform(0.09, 0.22, 19))
    pen.fill(
        np.vstack([np.stack([xs, top], 1), np.stack([xs, top + zigzag], 1)[::-1]]), hair.light, clip=inside
    )
    for shape in shapes[1:]:
        half = len(shape) // 2
        left, right = shape[:half], shape[half:][::-1]
        pen.stroke(left[4:], hair.line, 0.026, taper=(0.1, 0.8), clip=inside)
        pen.stroke(
            (left * 0.55 + right * 0.45)[5:-2], mix(hair.base, hair.line, 0.55), 0.016, taper=(0.1, 0.3)
        )


def draw_shadow(pen: Canvas, shade: tuple[int, int, int], bangs: Bangs) -> None:
    """The bangs' shadow on the forehead; drawn before the features."""
    xs = [x for x, _ in _BANGS[bangs]]
    ys = [y + 0.12 for _, y in _BANGS[bangs]]
    teeth = [
        p for x, y in zip(xs, ys, strict=True) for p in ((x - 0.1, y - 0.22), (x, y), (x + 0.1, y - 0.22))
    ]
    pen.fill([(-1.0, -1.0), *teeth, (1.0, -1.0)], shade, clip=pen.mask(HEAD))


def draw_strands(pen: Canvas, hair: Tone, style: Style, rng: np.random.Generator) -> None:
    """A tuft on the crown and single thin strands, 1 to 2 px wide, that leave the silhouette."""
    up = rng.choice([-1.0, 1.0])
    tuft = lock((up * -0.03, -1.22), (up * 0.44, -1.62 + rng.uniform(-0.06, 0.06)), 0.13, up * -0.32)
    pen.shape(tuft, hair.base, hair.line)
    strand = smooth([(0.0, -1.24), (up * -0.10, -1.48), (up * -0.30, -1.56)])
    pen.stroke(strand, hair.line, 0.020, taper=(1.0, 0.5))
    half_width, low = _EDGE[style]
    for side in (-1.0, 1.0):
        for y in np.linspace(-0.55, low, 4) + rng.uniform(-0.12, 0.12, 4):
            edge = 1.0 + (half_width - 1.0) * min(1.0, max(0.0, (y + 0.2) / 0.8)) - 0.06
            out = rng.uniform(0.16, 0.42)
            length = rng.uniform(0.40, 0.75)
            line = smooth([(side * edge, y), (side * (edge + 0.55 * out), y + 0.42 * length),
                           (side * (edge + out), y + length),
                           (side * (edge + 0.8 * out), y + 1.25 * length)])  # fmt: skip
            pen.stroke(line, hair.line, 0.019, taper=(0.9, 0.45))


def _hanging(
    xs: npt.NDArray[np.float64], root_y: float, tip_y: float, width: float, rng: np.random.Generator
) -> list[Points]:
    """Locks side by side whose tips make an uneven lower edge; the outer ones turn outwards."""
    return [
        lock(
            (x * 0.92, root_y), (x * 1.06, tip_y + rng.uniform(-0.14, 0.10) - 0.18 * abs(x)), width, 0.06 * x
        )
        for x in xs
    ]
