"""Colours of the drawn characters, sRGB 0..255."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from training.samples.canvas import Colour

WHITE: Colour = (252, 250, 248)
INK: Colour = (44, 32, 48)


@dataclass(frozen=True, slots=True)
class Tone:
    """One material in cel shading: its lit area, its shadow, its highlight and its outline."""

    base: Colour
    shade: Colour
    light: Colour
    line: Colour


def tone(hue: float, saturation: float, value: float) -> Tone:
    """A tone from HSV (hue in degrees, the others 0..1); shadows turn cooler, highlights paler."""
    return Tone(
        base=_hsv(hue, saturation, value),
        shade=_hsv(_toward(hue, 265.0, 0.12), min(1.0, saturation * 1.12 + 0.05), value * 0.80),
        light=_hsv(hue, saturation * 0.45, min(1.0, value * 1.12 + 0.06)),
        line=_hsv(_toward(hue, 280.0, 0.25), min(1.0, saturation * 0.75 + 0.22), value * 0.30 + 0.03),
    )


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with ``share`` (0..1) of ``b``."""
    red, green, blue = (round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


SKINS: tuple[Tone, ...] = (
    Tone((255, 226, 208), (240, 186, 172), (255, 242, 232), (122, 62, 66)),
    Tone((250, 214, 186), (228, 170, 146), (255, 234, 214), (112, 58, 54)),
    Tone((222, 170, 132), (190, 130, 102), (240, 198, 164), (92, 50, 46)),
    Tone((160, 108, 80), (124, 78, 64), (190, 138, 106), (62, 34, 36)),
)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 360.0 / 360.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _toward(hue: float, target: float, share: float) -> float:
    """``hue`` turned by ``share`` of the shorter way to ``target``, degrees."""
    return hue + ((target - hue + 180.0) % 360.0 - 180.0) * share
