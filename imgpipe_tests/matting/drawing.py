"""Drawn characters with exact alpha and foreground colours, over backgrounds of several kinds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

SUPERSAMPLING = 4
BACKGROUNDS = ("flat", "gradient", "noisy", "drawn")


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """``picture``: uint8 (height, width, 3) RGB. ``alpha``: float32 (height, width), exact coverage.
    ``foreground``: float32 (height, width, 3) 0..1, the subject's colour wherever alpha is above 0."""

    picture: npt.NDArray[np.uint8]
    alpha: Float
    foreground: Float


def make_scene(seed: int, background: str, side: int = 320) -> Scene:
    """A seeded character of flat colours with hair strands of 2..4 px over one kind of background."""
    rng = np.random.default_rng(seed)
    premultiplied, alpha = _character(rng, side)
    behind = _background(rng, background, side)
    picture = premultiplied + (1 - alpha[..., None]) * behind
    foreground = np.divide(premultiplied, np.maximum(alpha, 1e-6)[..., None], dtype=np.float32)
    return Scene(np.rint(picture * 255).astype(np.uint8), alpha, foreground)


def as_a_network_would(alpha: Float, blur_px: float = 1.5, bias: float = 0.04) -> Float:
    """The truth blurred and slightly eroded."""
    blurred = cv2.GaussianBlur(alpha, (0, 0), blur_px)
    return np.asarray(np.clip((blurred - bias) / (1 - 2 * bias), 0, 1), np.float32)


def _character(rng: np.random.Generator, side: int) -> tuple[Float, Float]:
    scale = SUPERSAMPLING * side / 320
    canvas = np.zeros((SUPERSAMPLING * side, SUPERSAMPLING * side, 4), np.float32)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * scale), round(y * scale)

    skin = (1.0, 0.86, 0.76, 1.0)
    hair = (*(float(v) for v in rng.uniform(0.1, 0.6, 3)), 1.0)
    dress = (*(float(v) for v in rng.uniform(0.2, 0.9, 3)), 1.0)
    line = (0.12, 0.08, 0.1, 1.0)
    shift = float(rng.uniform(-15, 15))
    body = np.array([at(130 + shift, 170), at(190 + shift, 170), at(225 + shift, 300), at(95 + shift, 300)])
    cv2.ellipse(canvas, at(160 + shift, 110), at(62, 66), 0, 0, 360, hair, -1)
    for _ in range(14):
        start = np.array([160 + shift + rng.uniform(-50, 50), 90.0])
        bend = start + np.array([rng.uniform(-45, 45), rng.uniform(30, 90)])
        end = bend + np.array([rng.uniform(-30, 30), rng.uniform(10, 80)])
        t = np.linspace(0, 1, 40)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        points = np.rint(curve * scale).astype(np.int32)
        cv2.polylines(canvas, [points], False, hair, round(rng.uniform(2, 4) * SUPERSAMPLING))
    cv2.fillPoly(canvas, [body], dress)
    cv2.polylines(canvas, [body], True, line, round(2 * scale))
    cv2.ellipse(canvas, at(160 + shift, 118), at(46, 52), 0, 0, 360, skin, -1)
    cv2.ellipse(canvas, at(160 + shift, 118), at(46, 52), 0, 0, 360, line, round(1.5 * scale))
    for eye in (-18, 18):
        cv2.ellipse(canvas, at(160 + shift + eye, 120), at(8, 11), 0, 0, 360, line, -1)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[..., :3]), np.ascontiguousarray(small[..., 3])


def _background(rng: np.random.Generator, kind: str, side: int) -> Float:
    first = rng.uniform(0.55, 1.0, 3)
    ys, xs = np.mgrid[0:side, 0:side] / (side - 1)
    if kind == "flat":
        return np.broadcast_to(first, (side, side, 3)).astype(np.float32)
    second = np.clip(first + rng.uniform(-0.3, 0.1, 3), 0, 1)
    blend = (ys if rng.random() < 0.5 else (xs + ys) / 2)[..., None]
    gradient = first * (1 - blend) + second * blend
    if kind == "gradient":
        return np.asarray(gradient, np.float32)
    if kind == "noisy":
        return np.asarray(np.clip(gradient + rng.normal(0, 0.02, (side, side, 3)), 0, 1), np.float32)
    drawn = np.ascontiguousarray(gradient, np.float32)
    for _ in range(60):
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        colour = tuple(float(v) for v in rng.uniform(0, 1, 3))
        cv2.circle(drawn, centre, int(rng.integers(6, 40)), colour, -1, cv2.LINE_AA)
    return drawn
