"""Pictures whose alpha and foreground colours are known exactly, with the masks that a network might give.

Twelve subjects over four kinds of background. Eight subjects are drawn characters, at the size that is asked
for. Four are views of a real picture with the mask that a network published for it: the mask, its ends
stretched to 0 and 1, is the truth, and its colours under the soft edge are continued from the opaque ones,
since what the picture shows there is mixed with its old background. Every case is a function of its names
and its size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from imgpipe.images.decode import decode
from imgpipe.settings import LimitSettings
from mattes import drawn_backgrounds
from training.samples import backgrounds
from training.samples.canvas import Canvas
from training.samples.cast import choose_characters
from training.samples.character import draw_bust, draw_figure
from training.samples.palette import tone

Float = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

BACKGROUNDS = ("flat", "gradient", "noisy", "drawn")
DRAWN_CHARACTERS = 8
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "anime"

#: Squares of the real picture: left, top, edge, px.
REAL_VIEWS = {
    "real-whole": (165, 0, 601),
    "real-head": (265, 5, 260),
    "real-shoulder": (440, 140, 180),
    "real-hem": (340, 300, 280),
}

#: What a network sees of a picture, px of the longer side; its mask is as coarse, however large the picture.
NETWORK_SIDE_PX = 1024

_SEEDED = 20260101


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """``picture``: uint8 (edge, edge, 3) RGB. ``alpha``: float32 (edge, edge) 0..1. ``foreground``: float32
    (edge, edge, 3) 0..1, the subject's colours wherever alpha is above 0. ``mask``: uint8, what a network
    would give."""

    subject: str
    background: str
    picture: Pixels
    alpha: Float
    foreground: Float
    mask: Pixels

    @property
    def name(self) -> str:
        return f"{self.subject} over {self.background}"


def subject_names() -> list[str]:
    """The real picture's views come first; they are left out where the picture is not at hand."""
    real = list(REAL_VIEWS) if (REAL / "anime-girl-1.isnet-anime.png").is_file() else []
    return [*real, *(f"drawn-{number}" for number in range(1, DRAWN_CHARACTERS + 1))]


def make_cases(
    edge: int, subjects: Sequence[str] | None = None, kinds: Sequence[str] = BACKGROUNDS
) -> Iterator[Case]:
    for subject in subjects or subject_names():
        alpha, foreground = _subject(subject, edge)
        mask = network_mask(alpha, _rng(subject, "mask"))
        for kind in kinds:
            behind = _background(kind, edge, _rng(subject, kind))
            mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * behind
            picture = np.rint(mixed * 255).astype(np.uint8)
            yield Case(subject, kind, picture, alpha, foreground, mask)


def network_mask(alpha: Float, rng: np.random.Generator) -> Pixels:
    """The truth as a segmentation network would give it, uint8.

    Seen at :data:`NETWORK_SIDE_PX`, blurred by a resolution of about two px there, cut at a level that wavers
    along the contour (smooth noise) and lies above one half (eroded), with the steep and yet not hard edge of
    a trained network, and enlarged bilinearly.
    """
    height, width = alpha.shape
    scale = NETWORK_SIDE_PX / max(height, width)
    seen = cv2.resize(
        alpha,
        (round(width * scale), round(height * scale)),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    seen = cv2.GaussianBlur(seen, (0, 0), 2.0)
    noise = np.asarray(rng.standard_normal(seen.shape), np.float32)
    waver = cv2.GaussianBlur(noise, (0, 0), 12.0)
    level = 0.55 + 0.04 * waver / waver.std()
    sharp = np.clip((seen - level) * 2.2 + 0.5, 0.0, 1.0)
    sharp = cv2.GaussianBlur(sharp, (0, 0), 1.0)
    back = cv2.resize(sharp, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    return np.asarray(np.rint(np.clip(back, 0.0, 1.0) * 255), np.uint8)


# ---------------------------------------------------------------- subjects


def _subject(name: str, edge: int) -> tuple[Float, Float]:
    """(alpha, foreground) of (edge, edge) px."""
    if name in REAL_VIEWS:
        return _real(name, edge)
    return _drawn(int(name.removeprefix("drawn-")), edge)


def _drawn(number: int, edge: int) -> tuple[Float, Float]:
    who = choose_characters(DRAWN_CHARACTERS, np.random.default_rng(_SEEDED))[number - 1]
    canvas = Canvas(edge, edge)
    if number % 3 == 0:
        draw_figure(canvas.at((edge * 0.5, edge * 0.33), edge * 0.17), who, _rng("drawn", number))
    else:
        draw_bust(canvas.at((edge * 0.5, edge * 0.42), edge * 0.2), who, _rng("drawn", number))
    colour, coverage = canvas.reduce()
    return coverage.astype(np.float32) / np.float32(255), colour.astype(np.float32) / np.float32(255)


def _real(name: str, edge: int) -> tuple[Float, Float]:
    left, top, side = REAL_VIEWS[name]
    window = np.s_[top : top + side, left : left + side]
    alpha, foreground = (_resized(np.ascontiguousarray(plane[window]), edge) for plane in _real_picture())
    alpha[alpha < 1 / 255] = 0.0
    alpha[alpha > 254 / 255] = 1.0
    return alpha, foreground


@lru_cache(maxsize=1)
def _real_picture() -> tuple[Float, Float]:
    limits = LimitSettings()
    cutout, source = (
        decode((REAL / name).read_bytes(), name=name, limits=limits).pixels
        for name in ("anime-girl-1.isnet-anime.png", "anime-girl-1.jpg")
    )
    published = cutout[..., 3].astype(np.float32)
    # The network's ghosts are below 16 of 255, and its "certainly" begins at 240.
    alpha = np.clip((published - 16) / (240 - 16), 0.0, 1.0).astype(np.float32)
    return alpha, _continued(source.astype(np.float32) / np.float32(255), alpha >= 0.98)


def _continued(colour: Float, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> Float:
    """``colour`` where ``kept``, and smoothly continued from there everywhere else."""
    weight = kept.astype(np.float32)
    result = colour * weight[..., None]
    filled = kept.copy()
    sigma = 1.0
    while not filled.all():
        share = cv2.GaussianBlur(weight, (0, 0), sigma)
        spread = (
            cv2.GaussianBlur(colour * weight[..., None], (0, 0), sigma) / np.maximum(share, 1e-12)[..., None]
        )
        reached = ~filled & (share > 1e-3)
        result[reached] = spread[reached]
        filled |= reached
        sigma *= 2
    return np.asarray(np.clip(result, 0.0, 1.0), np.float32)


def _resized(plane: Float, edge: int) -> Float:
    method = cv2.INTER_AREA if plane.shape[0] > edge else cv2.INTER_CUBIC
    return np.clip(cv2.resize(plane, (edge, edge), interpolation=method), 0.0, 1.0)


# ---------------------------------------------------------------- backgrounds


def _background(kind: str, edge: int, rng: np.random.Generator) -> Float:
    if kind == "drawn":
        return _drawn_background(edge, rng)
    hue = float(rng.uniform(0, 360))
    first = np.array(tone(hue, float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.45, 0.95))).base) / 255
    if kind == "flat":
        return np.broadcast_to(first, (edge, edge, 3)).astype(np.float32)
    second = np.array(tone(hue + 60, 0.45, float(rng.uniform(0.5, 1.0))).base) / 255
    ys, xs = np.mgrid[0:edge, 0:edge].astype(np.float32) / max(edge - 1, 1)
    turn = float(rng.uniform(0, np.pi / 2))
    across = (xs * np.sin(turn) + ys * np.cos(turn))[..., None] / (np.sin(turn) + np.cos(turn))
    gradient = first * (1 - across) + second * across
    if kind == "noisy":
        gradient = gradient + rng.normal(0, 0.03, gradient.shape)
    return np.asarray(np.clip(gradient, 0.0, 1.0), np.float32)


def _drawn_background(edge: int, rng: np.random.Generator) -> Float:
    """One of the samples' own, drawn at the size that their details are made for, then resized."""
    side = 512
    painters: tuple[Callable[[], Pixels], ...] = (
        lambda: backgrounds.garden(side, side, rng),
        lambda: backgrounds.night_city(side, side, rng),
        lambda: drawn_backgrounds.sky(side, side, rng),
        lambda: backgrounds.rays(side, side, (252, 206, 214), (254, 236, 226)),
        lambda: drawn_backgrounds.screen_tone(side, side),
    )
    painted = painters[int(rng.integers(len(painters)))]()
    return _resized(painted.astype(np.float32) / np.float32(255), edge)


def _rng(*names: object) -> np.random.Generator:
    return np.random.default_rng([_SEEDED, zlib.crc32(repr(names).encode())])
