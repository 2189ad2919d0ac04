"""A face in front view: head shape, ears, eyes, brows, nose, mouth."""

from __future__ import annotations

from typing import Literal

import numpy as np

from training.samples.canvas import Canvas, Colour, Points, ellipse, smooth
from training.samples.palette import INK, WHITE, Tone, mix

Mouth = Literal["smile", "open", "small", "cat"]
Eyes = Literal["open", "closed", "wink"]

HEAD: Points = smooth(
    [
        (-0.80, -0.25), (-0.80, 0.18), (-0.72, 0.50), (-0.50, 0.78), (-0.20, 0.99), (0.0, 1.05),
        (0.20, 0.99), (0.50, 0.78), (0.72, 0.50), (0.80, 0.18), (0.80, -0.25), (0.60, -0.80),
        (0.0, -1.0), (-0.60, -0.80),
    ],
    closed=True,
)  # fmt: skip


def draw_head(pen: Canvas, skin: Tone) -> None:
    """Ears and the bare head."""
    for half in pen.sides():
        ear = smooth([(0.76, 0.08), (0.93, 0.02), (0.94, 0.28), (0.78, 0.50)], closed=True)
        half.shape(ear, skin.base, skin.line)
        half.stroke(smooth([(0.81, 0.14), (0.88, 0.16), (0.82, 0.36)]), skin.shade, 0.035)
    pen.shape(HEAD, skin.base, skin.line)


def draw_features(pen: Canvas, skin: Tone, iris: Tone, brow: Colour, eyes: Eyes, mouth: Mouth) -> None:
    """Everything inside the head's outline, over hair shadows and under the bangs."""
    face = pen.mask(HEAD)
    cheek = mix(skin.base, (250, 120, 120), 0.30)
    for half in pen.sides():
        half.fill(ellipse((0.52, 0.60), 0.15, 0.075), cheek, clip=face)
        for x in (-0.06, 0.0, 0.06):
            x += half.side * 0.52
            pen.stroke([(x + 0.02, 0.575), (x - 0.02, 0.63)], mix(cheek, (214, 84, 84), 0.6), 0.014)
        if eyes == "closed" or (eyes == "wink" and half is pen):
            _closed_eye(half)
        else:
            _open_eye(half, pen, iris)
        half.stroke(smooth([(0.20, -0.05), (0.38, -0.11), (0.58, -0.04)]), brow, 0.036, taper=(0.8, 0.25))
    pen.stroke(smooth([(0.0, 0.56), (0.035, 0.62), (-0.01, 0.635)]), skin.line, 0.022, taper=(0.3, 0.6))
    _mouth(pen, mouth, skin)


def _eye(*points: tuple[float, float]) -> Points:
    """Points around the middle of an eye."""
    return np.add(points, (0.385, 0.30))


def _open_eye(half: Canvas, pen: Canvas, iris: Tone) -> None:
    upper, lower = [(-0.12, -0.17), (0.04, -0.22), (0.19, -0.10)], [(0.19, 0.09), (0.06, 0.22), (-0.10, 0.19)]
    white = smooth(_eye((-0.19, 0.02), *upper, *lower), closed=True)
    half.fill(white, WHITE)
    inside = half.mask(white)
    half.fill(_eye((-0.3, -0.3), (0.3, -0.3), (0.3, -0.11), (-0.3, -0.09)), (206, 204, 222), clip=inside)
    x, y = _eye((-0.005, 0.005))[0]
    half.fill(ellipse((x, y), 0.150, 0.205), iris.line, clip=inside)
    half.fill(ellipse((x, y), 0.128, 0.183), iris.shade, iris.light, clip=inside)
    half.fill(ellipse((x, y - 0.05), 0.128, 0.12), mix(iris.shade, iris.line, 0.45), clip=inside)
    half.fill(ellipse((x, y + 0.01), 0.062, 0.095), iris.line, clip=inside)
    half.fill(ellipse((x, y + 0.125), 0.075, 0.035), iris.light, clip=inside)
    # Both highlights come from the same lamp, so they are not mirrored with the eye.
    pen.fill(ellipse((half.side * x - 0.055, y - 0.085), 0.050, 0.062), WHITE, clip=inside)
    pen.fill(ellipse((half.side * x + 0.062, y + 0.085), 0.026, 0.030), WHITE, clip=inside)
    lash = smooth(_eye((-0.20, -0.01), (-0.13, -0.18), (0.04, -0.235), (0.20, -0.12), (0.235, 0.02)))
    half.stroke(lash, INK, 0.066, taper=(0.25, 0.75))
    for tip in ((0.285, -0.055), (0.265, -0.145)):
        half.stroke(_eye((0.19, -0.10), tip), INK, 0.04, taper=(1.0, 0.2))
    half.stroke(smooth(_eye((0.18, 0.10), (0.10, 0.20), (-0.02, 0.225))), INK, 0.022, taper=(0.9, 0.2))
    half.stroke(smooth(_eye((-0.13, -0.27), (0.03, -0.31), (0.17, -0.24))), INK, 0.014, taper=(0.2, 0.2))


def _closed_eye(half: Canvas) -> None:
    arc = smooth(_eye((-0.19, 0.07), (0.0, -0.06), (0.19, 0.06)))
    half.stroke(arc, INK, 0.055, taper=(0.4, 0.7))
    for x in (0.13, 0.20):
        half.stroke(_eye((x, 0.03), (x + 0.07, -0.01)), INK, 0.028, taper=(1.0, 0.3))


def _mouth(pen: Canvas, kind: Mouth, skin: Tone) -> None:
    if kind == "open":
        hole = smooth([(-0.14, 0.745), (0.0, 0.765), (0.14, 0.745), (0.085, 0.875), (0.0, 0.905),
                       (-0.085, 0.875)],
                      closed=True)  # fmt: skip
        pen.shape(hole, (150, 52, 62), skin.line)
        pen.fill(ellipse((0.0, 0.90), 0.085, 0.06), (232, 122, 124), clip=pen.mask(hole))
        pen.fill(ellipse((0.0, 0.745), 0.10, 0.028), WHITE, clip=pen.mask(hole))
        return
    lines = {
        "smile": [(-0.15, 0.765), (-0.07, 0.81), (0.0, 0.82), (0.07, 0.81), (0.15, 0.765)],
        "small": [(-0.06, 0.80), (0.0, 0.81), (0.06, 0.80)],
        "cat": [(-0.14, 0.76), (-0.075, 0.81), (0.0, 0.765), (0.075, 0.81), (0.14, 0.76)],
    }
    pen.stroke(smooth(np.asarray(lines[kind])), skin.line, 0.030, taper=(0.5, 0.5))
