"""Body and clothes of a bust, in head units: the neck begins at y = 0.9, the picture cuts at about y = 3."""

from __future__ import annotations

from typing import Literal

import numpy as np

from training.samples.canvas import Canvas, Colour, Points, ellipse, smooth
from training.samples.palette import WHITE, Tone, mix

Outfit = Literal["sailor", "hoodie", "kimono", "jacket", "dress"]
Accessory = Literal["none", "ribbon", "flower", "glasses", "headphones", "cat_ears", "beret"]

TORSO: Points = smooth(
    [(-0.34, 1.22), (-0.78, 1.40), (-1.12, 1.62), (-1.28, 2.05), (-1.36, 2.7), (-1.42, 3.6),
     (1.42, 3.6), (1.36, 2.7),
     (1.28, 2.05), (1.12, 1.62), (0.78, 1.40), (0.34, 1.22)],
    closed=True,
)  # fmt: skip


def draw_body(pen: Canvas, skin: Tone, cloth: Tone, accent: Tone, outfit: Outfit) -> None:
    """Neck and clothed torso; hood and collars included."""
    if outfit == "hoodie":
        hood = smooth(
            [(-0.95, 1.55), (-0.98, 1.05), (-0.5, 0.82), (0.5, 0.82), (0.98, 1.05), (0.95, 1.55)], closed=True
        )
        pen.shape(hood, cloth.shade, cloth.line)
    neck = [(-0.23, 0.8), (-0.23, 1.12), (-0.38, 1.34), (0.0, 1.75), (0.38, 1.34), (0.23, 1.12), (0.23, 0.8)]
    pen.shape(TORSO, cloth.base, cloth.line)
    inside = pen.mask(TORSO)
    fold = smooth([(0.86, 2.0), (0.92, 2.5), (0.98, 3.6)])
    for half in pen.sides():
        half.fill(np.vstack([fold, [(0.72, 3.6), (0.78, 2.6)]]), cloth.shade, clip=inside)
        half.stroke(fold, cloth.line, 0.03, taper=(0.2, 1.0), clip=inside)
    pen.fill([(0.70, 1.2), (1.5, 1.5), (1.5, 3.6), (1.12, 3.6), (1.10, 2.2)], cloth.shade, clip=inside)
    pen.shape(neck, skin.base, skin.line)
    pen.fill(
        smooth([(-0.3, 0.8), (-0.24, 1.14), (0.05, 1.30), (0.26, 1.10), (0.3, 0.8)]),
        skin.shade,
        clip=pen.mask(neck),
    )
    {"sailor": _sailor, "hoodie": _hoodie, "kimono": _kimono, "jacket": _jacket, "dress": _dress}[outfit](
        pen, cloth, accent
    )


def _sailor(pen: Canvas, cloth: Tone, accent: Tone) -> None:
    collar = [(0.36, 1.22), (0.98, 1.50), (0.92, 1.98), (0.05, 2.06), (0.0, 1.86)]
    for half in pen.sides():
        half.shape(collar, accent.base, accent.line)
        half.stroke([(0.86, 1.52), (0.82, 1.88), (0.12, 1.95)], WHITE, 0.035)
    _bow(pen, (0.0, 2.08), 0.36, Tone((214, 62, 74), (168, 40, 62), (244, 130, 130), (84, 16, 34)))


def _hoodie(pen: Canvas, cloth: Tone, accent: Tone) -> None:
    edge = smooth(
        [(0.24, 1.08), (0.56, 1.34), (0.30, 1.72), (0.0, 1.90), (0.0, 1.74), (0.26, 1.46)], closed=True
    )
    for half in pen.sides():
        half.shape(edge, cloth.light, cloth.line)
        half.stroke(smooth([(0.16, 1.78), (0.20, 2.1), (0.15, 2.42)]), WHITE, 0.05)
        half.stroke([(0.15, 2.42), (0.145, 2.5)], accent.base, 0.065)
    pen.stroke([(0.0, 1.9), (0.0, 3.6)], cloth.line, 0.03)
    pen.stroke([(0.03, 1.9), (0.03, 3.6)], accent.light, 0.015)


def _kimono(pen: Canvas, cloth: Tone, accent: Tone) -> None:
    inside = pen.mask(TORSO)
    for x, y, r in (
        (-0.8, 2.3, 0.15),
        (0.72, 1.98, 0.13),
        (0.95, 2.6, 0.16),
        (-0.45, 2.62, 0.12),
        (-1.05, 1.85, 0.12),
    ):
        draw_flower(pen, (x, y), r, accent.light, accent.base)
    band = [(0.30, 1.10), (0.52, 1.26), (0.10, 1.92), (-0.42, 2.62), (-0.62, 2.5)]
    left, right = pen.sides()
    right.shape(band, accent.light, cloth.line)
    left.shape(band, WHITE, cloth.line)
    sash = [(-1.5, 2.62), (1.5, 2.62), (1.5, 3.6), (-1.5, 3.6)]
    pen.fill(sash, accent.base, clip=inside)
    pen.stroke([(-1.5, 2.62), (1.5, 2.62)], accent.line, 0.03, clip=inside)
    pen.stroke([(-1.5, 2.84), (1.5, 2.84)], accent.light, 0.06, clip=inside)


def _jacket(pen: Canvas, cloth: Tone, accent: Tone) -> None:
    shirt = [(-0.36, 1.24), (0.36, 1.24), (0.30, 2.2), (0.0, 3.6), (-0.30, 2.2)]
    pen.fill([(-0.30, 1.34), (0.30, 1.34), (0.36, 2.2), (0.12, 3.6), (-0.12, 3.6), (-0.36, 2.2)], WHITE)
    for half in pen.sides():
        half.shape([(0.26, 1.10), (0.46, 1.36), (0.12, 1.66), (0.0, 1.60)], WHITE, (120, 116, 134))
        lapel = [(0.40, 1.24), (0.72, 1.40), (0.62, 1.90), (0.14, 2.72), (0.34, 1.9)]
        half.shape(lapel, cloth.light, cloth.line)
    pen.shape([(-0.10, 1.58), (0.10, 1.58), (0.07, 1.74), (0.16, 2.5), (0.0, 2.66), (-0.16, 2.5),
               (-0.07, 1.74)],
              accent.base, accent.line)  # fmt: skip
    stripe = pen.mask(shirt)
    for y in (1.92, 2.14, 2.36):
        pen.stroke([(-0.11, y + 0.06), (0.11, y - 0.04)], accent.light, 0.04, clip=stripe)


def _dress(pen: Canvas, cloth: Tone, accent: Tone) -> None:
    yoke = smooth([(-0.34, 1.24), (-0.62, 1.40), (-0.5, 1.86), (0.0, 2.02), (0.5, 1.86), (0.62, 1.40),
                   (0.34, 1.24),
                   (0.0, 1.62)], closed=True)  # fmt: skip
    pen.shape(yoke, WHITE, cloth.line)
    for t in np.linspace(0.0, 1.0, 11):
        angle = np.pi * (0.04 + 0.92 * t)
        frill = ellipse((0.60 * np.cos(angle), 1.46 + 0.52 * np.sin(angle)), 0.085, 0.075)
        pen.shape(frill, WHITE, cloth.line, width=0.7)
    pen.fill(yoke, WHITE)
    _bow(pen, (0.0, 1.86), 0.26, accent)
    for y in (2.35, 2.62):
        pen.fill(ellipse((0.0, y), 0.05, 0.05), accent.light)
        pen.stroke(np.vstack([e := ellipse((0.0, y), 0.05, 0.05), e[:1]]), cloth.line, 0.018)


def _bow(pen: Canvas, at: tuple[float, float], size: float, tone: Tone) -> None:
    x, y = at
    for side in (-size, size):
        tail = [(x, y), (x + side * 0.75, y + size * 1.5), (x + side * 0.25, y + size * 1.6)]
        pen.shape(tail, tone.shade, tone.line)
        wing = smooth([(x, y - 0.02), (x + side * 0.9, y - size * 0.55), (x + side * 1.15, y),
                       (x + side * 0.9, y + size * 0.5), (x, y + 0.04)], closed=True)  # fmt: skip
        pen.shape(wing, tone.base, tone.line)
        pen.stroke([(x + side * 0.25, y), (x + side * 0.7, y - size * 0.1)], tone.line, 0.02, taper=(1, 0.2))
    pen.shape(ellipse(at, size * 0.24, size * 0.27), tone.light, tone.line)


def draw_flower(pen: Canvas, at: tuple[float, float], radius: float, petal: Colour, heart: Colour) -> None:
    """Five round petals."""
    for angle in np.radians(np.arange(-90, 270, 72)):
        centre = (at[0] + 0.62 * radius * np.cos(angle), at[1] + 0.62 * radius * np.sin(angle))
        pen.shape(
            ellipse(centre, radius * 0.48, radius * 0.48), petal, mix(heart, (40, 20, 40), 0.5), width=0.5
        )
    pen.fill(ellipse(at, radius * 0.55, radius * 0.55), petal)
    pen.fill(ellipse(at, radius * 0.26, radius * 0.26), heart)


def draw_accessory_behind(pen: Canvas, accessory: Accessory, hair: Tone) -> None:
    """Accessories behind the bangs: animal ears."""
    if accessory != "cat_ears":
        return
    for half in pen.sides():
        half.shape([(0.32, -1.02), (0.86, -1.72), (0.98, -0.66)], hair.base, hair.line)
        half.fill([(0.50, -1.06), (0.82, -1.50), (0.88, -0.80)], (250, 176, 178))


def draw_accessory(pen: Canvas, accessory: Accessory, accent: Tone) -> None:
    """Accessories over the hair."""
    if accessory == "ribbon":
        _bow(pen, (0.72, -0.86), 0.34, accent)
    elif accessory == "flower":
        draw_flower(pen, (-0.78, -0.62), 0.30, accent.light, (246, 200, 90))
    elif accessory == "glasses":
        rim = ellipse((0.385, 0.31), 0.285, 0.265)
        for half in pen.sides():
            half.stroke(np.vstack([rim, rim[:1]]), accent.line, 0.032)
            half.stroke([(0.67, 0.26), (0.86, 0.20)], accent.line, 0.032)
        pen.stroke(smooth([(-0.11, 0.28), (0.0, 0.25), (0.11, 0.28)]), accent.line, 0.032)
    elif accessory == "headphones":
        band = smooth(
            [
                (-1.02, 0.05),
                (-1.06, -0.62),
                (-0.62, -1.22),
                (0.0, -1.42),
                (0.62, -1.22),
                (1.06, -0.62),
                (1.02, 0.05),
            ]
        )
        pen.limb(band, accent.base, accent.line, 0.10)
        for half in pen.sides():
            half.shape(ellipse((1.02, 0.18), 0.17, 0.30), accent.base, accent.line)
            half.fill(ellipse((1.05, 0.16), 0.08, 0.18), accent.light)
    elif accessory == "beret":
        hat = smooth([(-0.98, -0.72), (-1.16, -1.10), (-0.60, -1.52), (0.30, -1.62), (1.10, -1.30),
                      (1.16, -0.92),
                      (0.80, -0.76), (0.0, -0.98)], closed=True)  # fmt: skip
        pen.shape(hat, accent.base, accent.line)
        pen.fill(smooth([(0.25, -1.6), (1.2, -1.3), (1.2, -0.9), (0.7, -0.8),
                         (0.75, -1.2)], closed=True), accent.shade,
                 clip=pen.mask(hat))  # fmt: skip
        pen.limb([(0.12, -1.58), (0.20, -1.74)], accent.base, accent.line, 0.07)
