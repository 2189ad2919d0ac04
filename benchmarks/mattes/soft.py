"""Pictures whose subject is truly soft, by closed forms: veils, glows, glass and loose hair.

Beside a drawn figure, over five kinds of background, one of them real pictures (``../shared``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from mattes.cases import Float, Pixels, _background, _drawn, _resized, _rng

BEHIND = ("flat", "gradient", "noisy", "drawn", "real")
EDGE = 512
Layer = tuple[Float, Float]


def make_soft(kind: str, number: int) -> Layer:
    """(alpha, colours 0..1) of a figure with its veil, glow, glass or hair."""
    rng = _rng("soft", kind, number)
    figure = _drawn(1 + number % 8, EDGE)
    ys, xs = (plane.astype(np.float32) / EDGE for plane in np.mgrid[:EDGE, :EDGE])
    colour = rng.uniform(0.35, 1, 3).astype(np.float32)
    return KINDS[kind](number, rng, figure, xs, ys, colour)


def _veil(number: int, rng: np.random.Generator, figure: Layer, xs: Float, ys: Float, colour: Float) -> Layer:
    width = 0.14 + 0.25 * ys + rng.uniform(0, 0.05)
    inside = (width - np.abs(xs - 0.5 - rng.uniform(-0.1, 0.1) + 0.03 * np.sin(9 * ys + number))) * EDGE
    fold = 0.5 + 0.5 * np.sin(xs * rng.uniform(40, 90) + 6 * ys + 2 * _smooth(rng, 40))
    level = rng.uniform(0.25, 0.7) * (0.7 + 0.3 * fold)
    alpha = np.clip(inside / rng.uniform(1.5, 10), 0, 1) * np.clip((ys - 0.12) * EDGE / 3, 0, 1) * level
    return _over(
        (alpha.astype(np.float32), (colour * (0.8 + 0.2 * fold)[..., None]).astype(np.float32)), figure
    )


def _glow(number: int, rng: np.random.Generator, figure: Layer, xs: Float, ys: Float, colour: Float) -> Layer:
    away = cv2.distanceTransform((figure[0] < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    reach = EDGE * rng.uniform(0.03, 0.12)
    alpha = rng.uniform(0.5, 0.95) * np.exp(-away / reach)
    alpha[alpha < 1 / 255] = 0
    shine = np.broadcast_to(np.clip(colour + 0.3, 0, 1), (EDGE, EDGE, 3))
    return _over((alpha.astype(np.float32), shine), figure)


def _glass(
    number: int, rng: np.random.Generator, figure: Layer, xs: Float, ys: Float, colour: Float
) -> Layer:
    """An egg of glass with a dark rim and a highlight; every other one behind the figure."""
    x, y = xs - 0.5 - rng.uniform(-0.1, 0.1), ys - 0.55
    tall, wide = rng.uniform(0.25, 0.38), rng.uniform(0.18, 0.3)
    depth = (1 - np.hypot(y / tall, x / wide)) * min(tall, wide) * EDGE
    rim = np.exp(-((depth / rng.uniform(2, 6)) ** 2))
    shine = np.exp(-30 * (((x + 0.4 * wide) / 0.3) ** 2 + ((y + 0.4 * tall) / 0.67) ** 2) * 20)
    alpha = np.clip(depth + 0.5, 0, 1) * np.clip(rng.uniform(0.12, 0.4) + 0.6 * rim + 0.8 * shine, 0, 0.97)
    tint = np.clip(colour * (1 - 0.6 * rim)[..., None] + shine[..., None], 0, 1)
    layer: Layer = alpha.astype(np.float32), tint.astype(np.float32)
    return _over(layer, figure) if number % 2 else layer


def _hair(number: int, rng: np.random.Generator, figure: Layer, xs: Float, ys: Float, colour: Float) -> Layer:
    fine = 4
    big = np.zeros((EDGE * fine, EDGE * fine), np.uint8)
    centre = np.array([0.5, 0.42]) * EDGE * fine
    along = np.linspace(0.3, 1, 24)[:, None]
    for _ in range(int(rng.integers(250, 700))):
        turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.42) * EDGE * fine
        out = np.array([np.cos(turn), np.sin(turn)])
        bend = along**2 * rng.uniform(-0.15, 0.15) * length
        strand = centre + along * length * out + np.array([-out[1], out[0]]) * bend
        cv2.polylines(big, [strand.astype(np.int32)], False, 255, int(rng.integers(1, 7)), cv2.LINE_AA)
    small = cv2.resize(big, (EDGE, EDGE), interpolation=cv2.INTER_AREA)
    alpha = np.asarray(small / np.float32(255), np.float32)
    shade = np.clip(colour * 0.6 * (1 + 0.25 * _smooth(rng, 3))[..., None], 0, 1)
    return _over((alpha, shade.astype(np.float32)), figure)


#: Kind -> function of (number, generator, figure, x and y in 0..1, colour).
KINDS: dict[str, Callable[[int, np.random.Generator, Layer, Float, Float, Float], Layer]] = {
    "veil": _veil,
    "glow": _glow,
    "glass": _glass,
    "hair": _hair,
}


def soft_pictures(each: int, photographs: list[Pixels]) -> Iterator[tuple[str, str, Pixels, Pixels]]:
    """(kind, name, RGB, alpha) of ``each`` subjects per kind over every background; uint8."""
    for kind in KINDS:
        for number in range(each):
            alpha, colour = make_soft(kind, number)
            for behind in BEHIND:
                if behind != "real" or photographs:
                    name = f"{kind}-{number} over {behind}"
                    yield kind, name, composed(alpha, colour, behind, name, photographs), _levels(alpha)


def composed(alpha: Float, colour: Float, behind: str, name: str, photographs: list[Pixels]) -> Pixels:
    """The layer over a background chosen by ``name``, uint8."""
    edge, rng = alpha.shape[0], _rng(name)
    if behind == "real":
        photograph = photographs[int(rng.integers(len(photographs)))]
        side = min(photograph.shape[:2])
        left = int(rng.integers(photograph.shape[1] - side + 1))
        square = np.ascontiguousarray(photograph[:side, left : left + side])
        background = _resized(square.astype(np.float32) / np.float32(255), edge)
    else:
        background = _background(behind, edge, rng)
    return _levels(alpha[..., None] * colour + (1 - alpha[..., None]) * background)


def _over(back: Layer, front: Layer) -> Layer:
    """``front`` over ``back`` (Porter and Duff, 1984)."""
    alpha = front[0] + (1 - front[0]) * back[0]
    mixed = front[0][..., None] * front[1] + ((1 - front[0]) * back[0])[..., None] * back[1]
    return alpha.astype(np.float32), (mixed / np.maximum(alpha, 1e-6)[..., None]).astype(np.float32)


def _smooth(rng: np.random.Generator, sigma: float) -> Float:
    noise = cv2.GaussianBlur(rng.standard_normal((EDGE, EDGE)).astype(np.float32), (0, 0), sigma)
    return np.asarray(noise / noise.std(), np.float32)


def _levels(values: Float) -> Pixels:
    return np.asarray(np.clip(np.rint(values * 255), 0, 255), np.uint8)
