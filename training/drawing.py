"""Drawn pictures for the training: the same seed and library versions give the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from training import motifs
from training.brush import Canvas, Floats, Plane, Rng, colour, fractal, gradient

Motif = Callable[[Canvas, Rng], None]

#: What a picture of a style is made of, from behind to the front: (motif, how often it occurs).
STYLES: dict[str, Sequence[tuple[Motif, float]]] = {
    "flat": (
        (motifs.wash, 0.3), (motifs.planks, 0.25), (motifs.street, 0.25), (motifs.foliage, 0.25),
        (motifs.rays, 0.1), (motifs.cells, 0.75), (motifs.subject, 0.8), (motifs.text, 0.25),
        (motifs.light, 0.15),
    ),
    "painted": (
        (motifs.brushwork, 0.6), (motifs.wash, 0.6), (motifs.foliage, 0.3), (motifs.planks, 0.15),
        (motifs.airbrush, 0.7), (motifs.subject, 0.6), (motifs.airbrush, 0.5), (motifs.wash, 0.2),
        (motifs.light, 0.4),
    ),
    "texture": (
        (motifs.leaves_of_shapes, 1.0), (motifs.wash, 0.2), (motifs.leaves_of_shapes, 0.2),
        (motifs.airbrush, 0.3), (motifs.light, 0.1),
    ),
    "manga": (
        (motifs.tone, 0.7), (motifs.rays, 0.3), (motifs.subject, 0.8), (motifs.strokes, 0.5),
        (motifs.tone, 0.5), (motifs.text, 0.6),
    ),
}  # fmt: skip
SHARES = {"flat": 0.42, "painted": 0.28, "texture": 0.18, "manga": 0.12}


def draw(seed: int, size: int = 512, style: str = "") -> Plane:
    """One picture (size, size, 3) uint8 RGB. ``style``: a key of :data:`STYLES`, or chosen by the seed."""
    rng = np.random.default_rng([0x494D47, seed])
    style = style or str(rng.choice(list(SHARES), p=list(SHARES.values())))
    canvas = Canvas(size)
    edge = canvas.pixels.shape[0]
    bright = (0.75, 1.0) if style == "manga" else (0.1, 1.0)
    stops = [colour(rng, bright, (0, 0.7)) for _ in range(int(rng.integers(1, 4)))]
    canvas.pixels = np.rint(gradient(rng, edge, stops * 2 if len(stops) == 1 else stops)).astype(np.uint8)
    for motif, share in STYLES[style]:
        if rng.random() < share:
            motif(canvas, rng)
    picture = canvas.reduced()
    if style == "manga" and rng.random() < 0.7:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return finish(picture, rng)


def finish(picture: Plane, rng: Rng) -> Plane:
    """What scanning, filming and colour grading do: softness, halos, paper, contrast, tint."""
    values = picture.astype(np.float32)
    sigma = float(rng.choice([0.0, rng.uniform(0.4, 0.9), rng.uniform(0.9, 1.6)], p=[0.35, 0.45, 0.2]))
    if sigma:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    if rng.random() < 0.25:
        values += rng.uniform(0.2, 0.8) * (values - cv2.GaussianBlur(values, (0, 0), rng.uniform(0.8, 1.6)))
    if rng.random() < 0.5:
        values = _soft_chroma(values, rng.uniform(0.5, 1.5))
    if rng.random() < 0.3:
        paper = fractal(rng, len(picture), rng.uniform(2, 12), gain=0.7)
        values += paper[..., None] * rng.uniform(2, 14)
    if rng.random() < 0.5:
        values = _graded(values, rng)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _soft_chroma(values: Floats, sigma: float) -> Floats:
    """Colour blurred beside its luma, as video and JPEG have it."""
    luma = values @ np.array([0.299, 0.587, 0.114], np.float32)
    blurred = cv2.GaussianBlur(values - luma[..., None], (0, 0), sigma)
    return np.asarray(luma[..., None] + blurred)


def _graded(values: Floats, rng: Rng) -> Floats:
    """Gamma, a narrower range of levels, less saturation, a tint."""
    values = 255 * (values.clip(0, 255) / 255) ** np.float32(np.exp(rng.normal(0, 0.25)))
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * rng.uniform(0.4, 1.15)
    low, high = rng.uniform(0, 60), rng.uniform(190, 255)
    return np.asarray(low + values * (high - low) / 255 + rng.normal(0, 8, 3))
