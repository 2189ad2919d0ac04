"""Pictures that no enlargement gives back exactly, drawn: tone, text, line art, ramps, glows, small ones.

A faithful enlargement softens 1-bit dots and strokes of a pixel, so its round trip reads low while nothing
is wrong. Every picture is RGB or RGBA uint8 at the source's size, seeded, and the same on every machine with
the same Pillow and OpenCV.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

WIDTH, HEIGHT = 192, 144
#: Kinds of which no picture was in view when limits were set.
HELD_OUT = ("dither", "hatching", "pixel art", "manga panel")
_WORDS = "The quick brown fox jumps over a lazy dog 0123456789 WAIT! What?! Boom... (sigh) Chapter 12: rain"
_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_COMPLEX_SMALL)


@dataclass(frozen=True, slots=True, eq=False)
class HardSource:
    """``pixels``: (height, width, 3 or 4) uint8. ``part``: ``seen`` while limits were set, or ``unseen``."""

    kind: str
    number: int
    pixels: U8

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def part(self) -> str:
        held_out = self.kind in HELD_OUT or zlib.crc32(self.name.encode()) % 2
        return "unseen" if held_out else "seen"


def hard_sources(per_kind: int) -> Iterator[HardSource]:
    """``per_kind`` pictures of every kind of :data:`KINDS`."""
    for kind, draw in KINDS.items():
        for number in range(per_kind):
            rng = np.random.default_rng([number, zlib.crc32(kind.encode())])
            yield HardSource(kind, number, draw(number, rng))


# ---------------------------------------------------------------- tone


def _screentone(number: int, rng: np.random.Generator) -> U8:
    """1-bit dots; two of three over the whole picture, one in three inside two shapes on white."""
    period = 4 + number % 5
    ink = _tone(rng, period, number // 5 % 4)
    if number % 3 == 2:
        where = np.zeros((HEIGHT, WIDTH), np.uint8)
        for _ in range(2):
            points = rng.uniform((0, 0), (WIDTH, HEIGHT), (6, 2)).astype(np.int32)
            cv2.fillConvexPoly(where, cv2.convexHull(points), 1)
        ink &= where > 0
    return _grey(np.where(ink, 0, 255))


def _tone(rng: np.random.Generator, period: float, shape: int) -> npt.NDArray[np.bool_]:
    """Round, square or diamond dots, or bars, of 15 to 50% ink, on a turned lattice."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64) + rng.uniform(0, period, (2, 1, 1))
    turned = math.radians(float(rng.choice((0, 15, 30, 45, 60, 75))))
    u = np.mod((x * math.cos(turned) + y * math.sin(turned)) / period, 1) - 0.5
    v = np.mod((y * math.cos(turned) - x * math.sin(turned)) / period, 1) - 0.5
    share = rng.uniform(0.15, 0.5)
    distance, reach = (
        (np.hypot(u, v), math.sqrt(share / math.pi)),
        (np.maximum(abs(u), abs(v)), math.sqrt(share) / 2),
        (abs(u) + abs(v), math.sqrt(share / 2)),
        (abs(u), share / 2),
    )[shape]
    return np.asarray(distance < reach, np.bool_)


def _dither(number: int, rng: np.random.Generator) -> U8:
    """A slow gradient in 1 bit: Bayer's 4x4 or 8x8 matrix, noise, or Floyd and Steinberg's diffusion."""
    grey = np.clip(_slope(rng, rng.uniform(0.5, 1.2), rng.uniform(90, 160)), 0, 255)
    if number % 4 == 3:
        return _grey(np.asarray(PilImage.fromarray(grey.astype(np.uint8)).convert("1").convert("L")))
    if number % 4 == 2:
        return _grey(np.where(grey > rng.uniform(0, 255, grey.shape), 255, 0))
    bayer = np.zeros((1, 1))
    for _ in range(2 + number % 2):
        bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
    tiled = np.tile((bayer + 0.5) / bayer.size * 255, (HEIGHT // len(bayer), WIDTH // len(bayer)))
    return _grey(np.where(grey > tiled, 255, 0))


# ---------------------------------------------------------------- strokes


def _text(number: int, rng: np.random.Generator) -> U8:
    """Lines of text 9 to 12 px high in fonts of Pillow and OpenCV, smooth or 1-bit, also white on black."""
    size = 9 + number % 4
    page = _page(number)
    style = number // 4 % 3
    for row in range(2, HEIGHT - size - 2, size + 4):
        words = " ".join(rng.permutation(_WORDS.split()))
        if style == 2:
            _opencv_text(page, words, (3, row + size), size, int(number // 2 % len(_HERSHEY)))
            continue
        picture = PilImage.fromarray(page)
        pen = ImageDraw.Draw(picture)
        pen.fontmode = "1" if number % 3 == 0 else "L"
        font = ImageFont.load_default(size) if style == 0 else ImageFont.load_default_imagefont()
        pen.text((3, row), words, fill=20, font=font)
        page = np.array(picture)
    return _paper(page, number % 2 == 1, number, rng)


def _opencv_text(page: U8, words: str, at: tuple[int, int], size: int, which: int) -> None:
    font = _HERSHEY[which]
    scale = cv2.getFontScaleFromHeight(font, max(6, size - 2), 1)
    cv2.putText(page, words, at, font, scale, 20, 1, cv2.LINE_AA)


def _lines(number: int, rng: np.random.Generator, *, smooth: bool) -> U8:
    """Strokes of 1 px: curves, circles, straight lines and hair, black or coloured, on white or a colour."""
    page = _page(number)
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    for _ in range(4 + number % 5):
        centre = rng.uniform((0, 0), (WIDTH, HEIGHT)).astype(int).tolist()
        axes = rng.uniform(8, 60, 2).astype(int).tolist()
        cv2.ellipse(page, centre, axes, float(rng.uniform(0, 180)), 0, 360, 10, 1, kind)
        start, end = rng.uniform((0, 0), (WIDTH, HEIGHT), (2, 2)).astype(int).tolist()
        cv2.line(page, start, end, 10, 1, kind)
    for _ in range(number % 4 * 6):
        at = np.linspace(0, 1, 24)
        x0, x1, bend = rng.uniform(0, WIDTH, 3)
        curve = np.stack([x0 + (x1 - x0) * at + bend * at * (1 - at), HEIGHT * at], axis=1)
        cv2.polylines(page, [curve.astype(np.int32)], False, 10, 1, kind)
    return _paper(page, number % 6 == 5, number, rng)


def _hatching(number: int, rng: np.random.Generator) -> U8:
    """Parallel strokes of 1 px, 3 to 6 px apart, in several directions."""
    page = _page(number)
    for _ in range(1 + number % 3):
        turned, apart = rng.uniform(0, math.pi), int(rng.integers(3, 7))
        along, across = (np.array([math.cos(turned + by), math.sin(turned + by)]) for by in (0, math.pi / 2))
        middle = rng.uniform((0.3 * WIDTH, 0.3 * HEIGHT), (0.7 * WIDTH, 0.7 * HEIGHT))
        for step in range(-12, 13):
            ends = middle + apart * step * across + np.outer([-1, 1], along) * rng.uniform(25, 45)
            start, end = ends.astype(int).tolist()
            cv2.line(page, start, end, 0, 1, cv2.LINE_AA if number % 2 else cv2.LINE_8)
    return _grey(page)


def _manga_panel(number: int, rng: np.random.Generator) -> U8:
    """Figures with outlines of 1 to 2 px, some filled with tone or black, a frame and a balloon with text."""
    page = _page(number)
    ink = _tone(rng, float(rng.uniform(3.5, 7)), number % 3)
    for n in range(5):
        points = rng.uniform((0, 0), (WIDTH, HEIGHT), (6, 2)).astype(np.int32)
        hull = cv2.convexHull(points)
        where = np.zeros_like(page)
        cv2.fillConvexPoly(where, hull, 1)
        page[where > 0] = np.where(ink[where > 0], 0, 255) if n % 2 else 255 * int(rng.random() < 0.8)
        cv2.polylines(page, [hull], True, 0, 1 + n % 2, cv2.LINE_AA if number % 2 else cv2.LINE_8)
    cv2.ellipse(page, (WIDTH - 50, 34), (44, 28), 0, 0, 360, 255, -1)
    cv2.ellipse(page, (WIDTH - 50, 34), (44, 28), 0, 0, 360, 0, 1, cv2.LINE_AA)
    picture = PilImage.fromarray(page)
    font = ImageFont.load_default(9 + number % 4)
    ImageDraw.Draw(picture).multiline_text((WIDTH - 80, 18), "Run! It is\nright here", fill=0, font=font)
    page = np.array(picture)
    cv2.rectangle(page, (1, 1), (WIDTH - 2, HEIGHT - 2), 0, 2)
    return _grey(page)


def _pixel_art(number: int, rng: np.random.Generator) -> U8:
    """Sprites of few colours, mirrored, every pixel drawn by hand."""
    palette = rng.integers(20, 256, (5, 3))
    page = np.full((HEIGHT, WIDTH, 3), palette[0], np.uint8)
    for _ in range(14):
        half = rng.integers(1, 5, (16, 8))
        half[rng.random(half.shape) < 0.3] = 0
        sprite = np.concatenate([half, half[:, ::-1]], axis=1)
        top, left = int(rng.integers(0, HEIGHT - 16)), int(rng.integers(0, WIDTH - 16))
        page[top : top + 16, left : left + 16] = palette[sprite]
    return page


# ---------------------------------------------------------------- smooth and dark


def _slope(rng: np.random.Generator, levels_per_px: float, middle: float) -> F64:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    turned = float(rng.choice((0, math.pi / 2, rng.uniform(0, math.pi))))
    along = (x - WIDTH / 2) * math.cos(turned) + (y - HEIGHT / 2) * math.sin(turned)
    return np.asarray(middle + levels_per_px * along, np.float64)


def _ramp(number: int, rng: np.random.Generator) -> U8:
    """Linear gradients of 0.05 to 4.1 levels a px, up and down again, rounded, grey or of two colours.

    Enlarged by the factor that a slope has in levels, it rises by about a level a px.
    """
    slope = (0.05, 0.1, 0.25, 0.5, 0.9, 0.97, 1.0, 1.03, 1.9, 2.0, 2.4, 2.6, 3.0, 3.1, 3.9, 4.1)[number % 16]
    plane = 255 - abs(np.mod(_slope(rng, slope, 128), 510) - 255)
    if number % 2:
        return _levels(plane[..., None] * rng.uniform(0.6, 0.9, 3) + rng.uniform(0, 25, 3))
    return _grey(plane)


def _glow(number: int, rng: np.random.Generator) -> U8:
    """One to four soft lights on black or a dark colour."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    picture = np.broadcast_to(rng.uniform(0, 25, 3) * (number % 3 > 0), (HEIGHT, WIDTH, 3)).copy()
    for _ in range(1 + number % 4):
        cx, cy = rng.uniform((0, 0), (WIDTH, HEIGHT))
        sigma = rng.uniform(4, 50)
        light = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
        picture += light[..., None] * rng.uniform(60, 230, 3)
    return _levels(picture)


def _stars(number: int, rng: np.random.Generator) -> U8:
    """40 to 160 stars of one px on black or a dark gradient, some with a faint cross."""
    picture = np.zeros((HEIGHT, WIDTH, 3))
    if number % 2:
        picture += np.clip(_slope(rng, 0.15, 14), 0, 60)[..., None] * rng.uniform(0.3, 1, 3)
    for n in range(40 * (1 + number % 4)):
        x, y = int(rng.integers(1, WIDTH - 1)), int(rng.integers(1, HEIGHT - 1))
        light = rng.uniform(80, 255) * rng.uniform(0.8, 1, 3)
        picture[y, x] += light
        if n % 5 == 0:
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                picture[y + dy, x + dx] += 0.4 * light
    return _levels(picture)


# ---------------------------------------------------------------- small


def _icon(number: int, rng: np.random.Generator) -> U8:
    """12 to 24 px, RGBA: a shape with an outline and an eye, smooth or hard."""
    side = 12 + number % 13
    large = np.zeros((4 * side, 4 * side, 4), np.uint8)
    colour = [*rng.integers(40, 256, 3).tolist(), 255]
    middle, reach = 2 * side, int(1.6 * side)
    if number % 3 == 0:
        cv2.circle(large, (middle, middle), reach, colour, -1)
        cv2.circle(large, (middle, middle), reach, (20, 20, 20, 255), 4)
    else:
        points = (middle + rng.uniform(-reach, reach, (7, 2))).astype(np.int32)
        cv2.fillPoly(large, [cv2.convexHull(points)], colour)
        cv2.polylines(large, [cv2.convexHull(points)], True, (20, 20, 20, 255), 4)
    cv2.circle(large, (middle, middle), max(4, side // 3), (250, 250, 250, 255), -1)
    if number % 2:
        return np.ascontiguousarray(large[2::4, 2::4])
    weight = large.astype(np.float64)
    weight[..., :3] *= weight[..., 3:] / 255
    mean = weight.reshape(side, 4, side, 4, 4).mean(axis=(1, 3))
    mean[..., :3] = np.where(mean[..., 3:] > 0, mean[..., :3] * 255 / np.maximum(mean[..., 3:], 1e-9), 0)
    return _levels(mean)


def _small(number: int, rng: np.random.Generator) -> U8:
    """11 to 34 px, opaque: an icon on a colour, a piece of text, of tone, of a gradient or of line art."""
    side = 11 + number % 24
    if number % 5 == 0:
        icon = _icon(number, rng).astype(np.float64)
        alpha = icon[..., 3:] / 255
        return _levels(icon[..., :3] * alpha + rng.uniform(0, 255, 3) * (1 - alpha))
    draw = (_text, _screentone, _ramp, partial(_lines, smooth=True))[number % 5 - 1]
    top, left = int(rng.integers(0, HEIGHT - side)), int(rng.integers(0, WIDTH - side))
    return np.ascontiguousarray(draw(number, rng)[top : top + side, left : left + side])


# ---------------------------------------------------------------- paper


def _page(number: int) -> U8:
    return np.full((HEIGHT, WIDTH), 255 if number % 2 else 250, np.uint8)


def _paper(page: U8, negative: bool, number: int, rng: np.random.Generator) -> U8:
    """The page, or its negative; every fourth in two colours instead of black on white."""
    ink = 1 - page.astype(np.float64) / 255
    if negative:
        ink = 1 - ink
    if number % 4 != 3:
        return _grey(255 * (1 - ink))
    bright, dark = rng.uniform(190, 255, 3), rng.uniform(0, 90, 3)
    return _levels(bright * (1 - ink[..., None]) + dark * ink[..., None])


def _grey(plane: npt.NDArray[Any]) -> U8:
    return np.repeat(_levels(plane)[..., None], 3, axis=2)


def _levels(values: npt.NDArray[Any]) -> U8:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


KINDS: Mapping[str, Callable[[int, np.random.Generator], U8]] = {
    "screentone": _screentone,
    "text": _text,
    "hard lines": partial(_lines, smooth=False),
    "smooth lines": partial(_lines, smooth=True),
    "ramp": _ramp,
    "glow": _glow,
    "stars": _stars,
    "icon cutout": _icon,
    "small picture": _small,
    "dither": _dither,
    "hatching": _hatching,
    "pixel art": _pixel_art,
    "manga panel": _manga_panel,
}
