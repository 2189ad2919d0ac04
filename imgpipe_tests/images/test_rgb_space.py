"""Profiles as arithmetic, against closed forms and against Little CMS as Pillow binds it."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.errors import ProfileUnusable
from imgpipe.images.rgb_space import space_of
from imgpipe_tests.images import profiles, sources

RAMP = np.arange(65536, dtype=np.uint16)


def srgb_of(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_greys_of_a_gamma_are_the_closed_form(gamma: float) -> None:
    """All 65,536 levels, to a tenth of an 8-bit level (a thousandth where it is not black)."""
    space = space_of(profiles.rgb("gamma", gamma=gamma))
    assert space is not None
    shown = space.shown(np.repeat(RAMP.reshape(256, 256, 1), 3, axis=2)).reshape(-1, 3)
    error = np.abs(shown - srgb_of((RAMP / 65535) ** gamma)[:, None]) * 255
    assert error.max() < 0.1, f"max {error.max():.4f} at level {error.max(axis=1).argmax()}"


@pytest.mark.parametrize(
    "icc",
    [
        profiles.rgb("linear", gamma=1.0),
        profiles.rgb("P3", profiles.P3),
        profiles.rgb("Adobe", profiles.ADOBE, 2.2),
        profiles.rgb("ProPhoto", profiles.PROPHOTO, 1.8),
        profiles.grey(1.8),
        profiles.table(),
        sources.display_p3(),
    ],
)
def test_shown_colours_agree_with_pillow(icc: bytes) -> None:
    space = space_of(icc)
    assert space is not None
    channels = len(space.curves)
    assert bool(space.tables) == (icc == profiles.table())
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, channels), np.uint8)
    ours, theirs = space.shown(pixels) * 255, profiles.by_pillow(pixels, icc)
    error = np.abs(ours - theirs)
    assert error.max() < 0.75, f"mean {error.mean():.3f} max {error.max():.3f} at {error.argmax()}"


@pytest.mark.parametrize("icc", [profiles.rgb("P3", profiles.P3), profiles.rgb("x", profiles.PROPHOTO, 1.8)])
def test_light_and_levels_are_inverse_beyond_srgb(icc: bytes) -> None:
    """Every colour comes back, also the two thirds that lie outside sRGB. Near black a float's last bit
    beside a bright channel is some levels of 65,535."""
    space = space_of(icc)
    assert space is not None
    pixels = np.random.default_rng(5).integers(0, 65536, (64, 64, 3)).astype(np.uint16)
    light = space.light(pixels)
    assert (light < 0).any()
    assert (light > 1).any()
    difference = np.abs(space.levels(light).astype(int) - pixels)
    assert difference.max() <= 16, difference.max()
    assert np.quantile(difference, 0.99) <= 1


def test_grey_levels_of_16_bits_come_back() -> None:
    for gamma in (1.0, 2.2):
        space = space_of(profiles.grey(gamma))
        assert space is not None
        levels = RAMP.reshape(256, 256, 1)
        assert np.abs(space.levels(space.light(levels)).astype(int) - levels).max() <= 1


def test_profiles_without_colours_are_refused() -> None:
    nothing = ((0.0, 0.0, 0.0),) * 3
    with pytest.raises(ProfileUnusable, match="same colour for every value"):
        space_of(profiles.rgb("nothing", nothing))
    with pytest.raises(ProfileUnusable, match="it is for CMYK"):
        space_of(sources.cmyk_icc())
    with pytest.raises(ProfileUnusable, match="Little CMS cannot use it"):
        space_of(profiles.without_tags())
