"""Subjects other than persons: a paper lantern and a round cat."""

from __future__ import annotations

import numpy as np

from training.samples.canvas import Canvas, ellipse, lock, smooth
from training.samples.palette import INK, WHITE, Tone, mix


def draw_lantern(pen: Canvas, paper: Tone, wood: Tone) -> None:
    """A lit paper lantern with a cord and a tassel; about 2 units wide and 4 high."""
    pen.stroke(smooth([(0.0, -2.05), (0.05, -1.75), (0.0, -1.45)]), wood.line, 0.05)
    ring = ellipse((0.0, -1.42), 0.16, 0.16)
    pen.stroke(np.vstack([ring, ring[:1]]), wood.line, 0.07)
    body = smooth([(-0.55, -1.0), (-0.98, -0.45), (-1.08, 0.15), (-0.95, 0.72), (-0.55, 1.15),
                   (0.55, 1.15), (0.95, 0.72),
                   (1.08, 0.15), (0.98, -0.45), (0.55, -1.0)], closed=True)  # fmt: skip
    pen.shape(body, paper.base, paper.line)
    inside = pen.mask(body)
    for share, rx, ry in ((0.35, 0.80, 0.92), (0.7, 0.56, 0.70), (1.0, 0.30, 0.42)):
        pen.fill(ellipse((-0.06, 0.10), rx, ry), mix(paper.base, (255, 244, 190), share), clip=inside)
    for y in np.linspace(-0.78, 0.96, 8):
        rib = smooth([(-1.2, y - 0.02), (0.0, y + 0.12), (1.2, y - 0.02)])
        pen.stroke(rib, mix(paper.base, paper.line, 0.55), 0.022, clip=inside)
    star = []
    for k in range(10):
        radius = 0.36 if k % 2 == 0 else 0.15
        angle = -np.pi / 2 + k * np.pi / 5
        star.append((radius * np.cos(angle), 0.12 + radius * np.sin(angle)))
    pen.shape(star, wood.light, wood.line, width=0.8)
    for y0, y1, half in ((-1.22, -0.92, 0.60), (1.06, 1.34, 0.60)):
        cap = [(-half, y0), (half, y0), (half + 0.06, y1), (-half - 0.06, y1)]
        pen.shape(cap, wood.base, wood.line)
        pen.fill(
            [(half * 0.4, y0), (half, y0), (half + 0.06, y1), (half * 0.4, y1)],
            wood.shade,
            clip=pen.mask(cap),
        )
    pen.stroke([(0.0, 1.34), (0.0, 1.62)], wood.line, 0.05)
    pen.shape(ellipse((0.0, 1.66), 0.09, 0.09), paper.light, paper.line)
    for x in np.linspace(-0.16, 0.16, 7):
        pen.stroke(smooth([(x * 0.4, 1.72), (x, 1.98), (x * 1.5, 2.25)]), paper.line, 0.030, taper=(1.0, 0.5))


def draw_cat(pen: Canvas, fur: Tone, accent: Tone) -> None:
    """A round sitting cat with whiskers; about 2.6 units wide and 2.8 high."""
    _cat_body(pen, fur)
    _cat_head(pen, fur, accent)
    pen.stroke(smooth([(-0.56, 0.22), (0.0, 0.33), (0.56, 0.22)]), accent.base, 0.13)
    pen.shape(ellipse((0.0, 0.42), 0.13, 0.13), (250, 208, 84), (120, 76, 20))
    pen.stroke([(-0.08, 0.44), (0.08, 0.44)], (120, 76, 20), 0.026)


def _cat_body(pen: Canvas, fur: Tone) -> None:
    tail = smooth([(0.85, 0.95), (1.38, 0.75), (1.48, 0.15), (1.22, -0.20)])
    pen.limb(tail, fur.shade, fur.line, 0.26)
    body = smooth([(-0.58, -0.1), (-0.96, 0.62), (-0.94, 1.18), (0.0, 1.36), (0.94, 1.18), (0.96, 0.62),
                   (0.58, -0.1)],
                  closed=True)  # fmt: skip
    pen.shape(body, fur.base, fur.line)
    pen.fill(smooth([(0.45, -0.1), (1.2, 0.3), (1.2, 1.3), (0.5, 1.4), (0.66, 0.7)], closed=True), fur.shade,
             clip=pen.mask(body))  # fmt: skip
    pen.fill(ellipse((0.0, 0.85), 0.56, 0.50), fur.light, clip=pen.mask(body))
    for x in (-0.34, 0.34):
        pen.shape(ellipse((x, 1.26), 0.25, 0.16), fur.light, fur.line)
        for toe in (-0.08, 0.08):
            pen.stroke([(x + toe, 1.22), (x + toe, 1.34)], fur.line, 0.022)


def _cat_head(pen: Canvas, fur: Tone, accent: Tone) -> None:
    for half in pen.sides():
        half.shape([(0.28, -0.92), (0.86, -1.42), (0.98, -0.48)], fur.base, fur.line)
        half.fill([(0.46, -0.92), (0.80, -1.20), (0.86, -0.62)], (250, 170, 176))
    head = smooth([(-1.14, -0.34), (-0.86, -0.88), (0.0, -1.04), (0.86, -0.88), (1.14, -0.34),
                   (0.80, 0.10), (0.0, 0.24),
                   (-0.80, 0.10)], closed=True)  # fmt: skip
    pen.group([head], fur.base, fur.line)
    face = pen.mask(head)
    for x in (-0.22, 0.0, 0.22):
        pen.fill(lock((x, -1.05), (x * 0.8, -0.66), 0.14, 0.0), fur.shade, clip=face)
    for side in (-1.0, 1.0):
        eye = (side * 0.42, -0.36)
        pen.fill(ellipse(eye, 0.135, 0.165), INK)
        pen.fill(ellipse((eye[0], eye[1] + 0.07), 0.09, 0.07), accent.base)
        pen.fill(ellipse((eye[0] - 0.05, eye[1] - 0.07), 0.05, 0.055), WHITE)
        pen.fill(ellipse((side * 0.62, -0.10), 0.13, 0.07), (252, 168, 162), clip=face)
        for dy in (-0.06, 0.03, 0.12):
            whisker = [(side * 0.80, -0.12 + dy * 0.5), (side * 1.46, -0.18 + dy * 2.2)]
            pen.stroke(whisker, fur.line, 0.020, taper=(0.8, 0.4))
    pen.fill([(-0.055, -0.20), (0.055, -0.20), (0.0, -0.14)], (222, 110, 120))
    pen.stroke(
        smooth([(-0.14, -0.08), (-0.07, -0.04), (0.0, -0.12), (0.07, -0.04), (0.14, -0.08)]), fur.line, 0.026
    )
