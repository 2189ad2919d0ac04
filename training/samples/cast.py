"""Chooses the characters' features by drawing without replacement, so that no two look alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from training.samples.character import Character
from training.samples.palette import SKINS, tone

T = TypeVar("T")

#: (hair, iris, cloth, accent) as HSV that go together.
_SCHEMES = (
    ((345, 0.45, 0.96), (210, 0.75, 0.80), (0, 0.02, 0.97), (225, 0.60, 0.52)),
    ((212, 0.58, 0.88), (28, 0.80, 0.86), (48, 0.45, 0.97), (330, 0.60, 0.90)),
    ((22, 0.52, 0.40), (140, 0.60, 0.62), (152, 0.40, 0.64), (30, 0.70, 0.92)),
    ((45, 0.50, 0.96), (200, 0.70, 0.80), (262, 0.40, 0.56), (2, 0.60, 0.84)),
    ((275, 0.38, 0.50), (292, 0.60, 0.80), (350, 0.58, 0.78), (40, 0.55, 0.95)),
    ((12, 0.72, 0.86), (165, 0.60, 0.72), (212, 0.30, 0.38), (16, 0.78, 0.95)),
    ((30, 0.18, 0.95), (100, 0.60, 0.70), (200, 0.50, 0.86), (340, 0.50, 0.92)),
    ((160, 0.42, 0.80), (345, 0.65, 0.82), (20, 0.10, 0.98), (170, 0.55, 0.55)),
    ((230, 0.35, 0.28), (48, 0.80, 0.90), (0, 0.62, 0.76), (225, 0.50, 0.40)),
    ((300, 0.22, 0.92), (255, 0.60, 0.82), (285, 0.32, 0.72), (50, 0.55, 0.97)),
    ((195, 0.14, 0.92), (355, 0.72, 0.80), (220, 0.55, 0.60), (190, 0.45, 0.90)),
    ((28, 0.68, 0.72), (120, 0.50, 0.55), (95, 0.38, 0.60), (38, 0.60, 0.88)),
)
#: What a character has of each kind, as often as it shall occur; in the order in which it is drawn.
_FEATURES: dict[str, Sequence[Any]] = {
    "skin": (SKINS[0], SKINS[0], SKINS[1], SKINS[0], SKINS[2], SKINS[1], SKINS[3]),
    "style": ("long", "twintails", "short", "ponytail", "bob", "spiky"),
    "bangs": ("straight", "parted", "swept"),
    "outfit": ("sailor", "dress", "hoodie", "jacket", "kimono"),
    "eyes": ("open", "open", "open", "wink", "open", "closed"),
    "mouth": ("smile", "open", "small", "cat"),
    "accessory": ("ribbon", "none", "headphones", "glasses", "flower", "cat_ears", "beret", "none"),
}


def choose_characters(count: int, rng: np.random.Generator) -> list[Character]:
    """``count`` characters; a feature repeats only after all its values have been drawn."""
    schemes = _choose(_SCHEMES, count, rng)
    chosen = {name: _choose(values, count, rng) for name, values in _FEATURES.items()}
    for place, name in enumerate(("hair", "iris", "cloth", "accent")):
        chosen[name] = [tone(*scheme[place]) for scheme in schemes]
    return [
        Character(
            **{name: values[k] for name, values in chosen.items()},
            tilt=float(rng.uniform(2, 7) * rng.choice([-1.0, 1.0])),
        )
        for k in range(count)
    ]


def _choose(values: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    chosen: list[T] = []
    while len(chosen) < count:
        chosen += [values[int(k)] for k in rng.permutation(len(values))]
    return chosen[:count]
