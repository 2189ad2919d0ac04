"""Whole characters: a bust, and a small full figure with a large head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.samples.canvas import Canvas, Points, ellipse, smooth
from training.samples.clothing import (
    Accessory,
    Outfit,
    draw_accessory,
    draw_accessory_behind,
    draw_body,
)
from training.samples.face import Eyes, Mouth, draw_features, draw_head
from training.samples.hair import Bangs, Style, draw_back, draw_front, draw_shadow, draw_strands
from training.samples.palette import Tone


@dataclass(frozen=True, slots=True)
class Character:
    """How a character looks; colours are tones, everything else is a choice by name."""

    hair: Tone
    iris: Tone
    skin: Tone
    cloth: Tone
    accent: Tone
    style: Style = "long"
    bangs: Bangs = "straight"
    outfit: Outfit = "sailor"
    eyes: Eyes = "open"
    mouth: Mouth = "smile"
    accessory: Accessory = "none"
    tilt: float = 0.0
    waving: bool = False


def draw_bust(pen: Canvas, who: Character, rng: np.random.Generator) -> None:
    """Head to waist; ``pen.origin`` is the middle of the head. The head is tilted, the body is not."""
    head = pen.at(pen.origin, pen.unit_px, who.tilt)
    draw_back(head, who.hair, who.style, rng)
    draw_body(pen, who.skin, who.cloth, who.accent, who.outfit)
    if who.waving:
        _waving_arm(pen, who)
    _draw_head(head, who, rng)


def draw_figure(pen: Canvas, who: Character, rng: np.random.Generator) -> None:
    """A full figure of about four head units; ``pen.origin`` is the middle of the head."""
    head = pen.at(pen.origin, pen.unit_px, who.tilt)
    draw_back(head, who.hair, who.style, rng)
    _limbs(pen, who)
    _frock(pen, who)
    _draw_head(head, who, rng)


def _limbs(pen: Canvas, who: Character) -> None:
    """Legs with socks and shoes, arms with round hands."""
    for half in pen.sides():
        half.limb([(0.26, 2.2), (0.28, 2.95)], who.skin.base, who.skin.line, 0.25)
        half.limb([(0.28, 2.78), (0.28, 3.0)], (250, 250, 250), who.accent.line, 0.27)
        shoe = smooth([(0.12, 3.0), (0.42, 2.98), (0.56, 3.18), (0.12, 3.2)], closed=True)
        half.shape(shoe, who.accent.base, who.accent.line)
    left = [(-0.42, 1.30), (-0.86, 1.62), (-1.02, 1.98)]
    right = [(0.42, 1.30), (0.92, 1.34), (1.20, 0.98)]
    for arm in (left, right):
        line = smooth(arm)
        end = line[-1] + 0.10 * (line[-1] - line[-4]) / np.linalg.norm(line[-1] - line[-4])
        pen.shape(ellipse((float(end[0]), float(end[1])), 0.155, 0.155), who.skin.base, who.skin.line)
        pen.limb(line, who.cloth.base, who.cloth.line, 0.26)


def _frock(pen: Canvas, who: Character) -> None:
    dress = smooth(
        [(-0.30, 1.02), (-0.50, 1.24), (-0.50, 1.60), (-0.92, 2.46), (-0.45, 2.56), (0.0, 2.60), (0.45, 2.56),
         (0.92, 2.46), (0.50, 1.60), (0.50, 1.24), (0.30, 1.02)],
        closed=True,
    )  # fmt: skip
    pen.shape(dress, who.cloth.base, who.cloth.line)
    inside = pen.mask(dress)
    pen.fill([(0.20, 1.0), (0.6, 1.2), (1.1, 2.8), (0.55, 2.8)], who.cloth.shade, clip=inside)
    for x in (-0.36, -0.04, 0.28):
        pen.stroke([(x * 0.7, 1.9), (x * 1.4, 2.6)], who.cloth.line, 0.022, taper=(0.1, 1.0), clip=inside)
    pen.stroke(smooth([(-0.5, 1.66), (0.0, 1.74), (0.5, 1.66)]), who.accent.base, 0.12, clip=inside)
    hem = smooth([(-0.96, 2.40), (-0.45, 2.50), (0.0, 2.54), (0.45, 2.50), (0.96, 2.40)])
    pen.stroke(hem, who.accent.light, 0.05, clip=inside)
    for half in pen.sides():
        half.shape([(0.0, 1.14), (0.36, 0.98), (0.34, 1.32)], who.accent.base, who.accent.line)


def _draw_head(head: Canvas, who: Character, rng: np.random.Generator) -> None:
    draw_accessory_behind(head, who.accessory, who.hair)
    draw_head(head, who.skin)
    draw_shadow(head, who.skin.shade, who.bangs)
    draw_features(head, who.skin, who.iris, who.hair.line, who.eyes, who.mouth)
    draw_front(head, who.hair, who.style, who.bangs, rng)
    draw_accessory(head, who.accessory, who.accent)
    draw_strands(head, who.hair, who.style, rng)


def _waving_arm(pen: Canvas, who: Character) -> None:
    """The right arm, raised, with an open hand beside the face."""
    sleeve = smooth(
        [(0.80, 1.70), (1.30, 2.10), (1.72, 1.60), (1.66, 1.02), (1.34, 1.04), (1.28, 1.40), (1.10, 1.52)],
        closed=True,
    )
    fingers: list[Points] = []
    for angle, reach in ((-122.0, 0.46), (-102.0, 0.55), (-82.0, 0.56), (-62.0, 0.50), (-22.0, 0.42)):
        a = np.radians(angle)
        tip = (1.49 + reach * np.cos(a), 0.72 + reach * np.sin(a))
        fingers.append(np.array([(1.49, 0.78), tip]))
    wrist = np.array([(1.49, 0.80), (1.50, 1.12)])
    edge = 2 * pen.line_px / pen.unit_px
    parts = [(finger, 0.125) for finger in fingers] + [(wrist, 0.22)]
    palm = ellipse((1.49, 0.76), 0.21, 0.21)
    for line, width in parts:
        pen.stroke(line, who.skin.line, width + edge)
    pen.shape(palm, who.skin.base, who.skin.line)
    for line, width in parts:
        pen.stroke(line, who.skin.base, width)
    pen.fill(palm, who.skin.base)
    pen.stroke(smooth([(1.40, 0.86), (1.50, 0.80), (1.60, 0.78)]), who.skin.shade, 0.025, taper=(0.3, 0.3))
    pen.shape(sleeve, who.cloth.base, who.cloth.line)
    pen.fill(
        [(1.5, 1.0), (1.8, 1.0), (1.8, 1.7), (1.3, 2.2), (1.0, 1.9), (1.4, 1.7)],
        who.cloth.shade,
        clip=pen.mask(sleeve),
    )
    pen.stroke([(1.33, 1.08), (1.67, 1.06)], who.accent.base, 0.10)
