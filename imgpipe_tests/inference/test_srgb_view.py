"""What a network is given of a picture with a profile, and the way back."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.inference.srgb_view import srgb_view
from imgpipe_tests.images import profiles, sources

SPACES = {
    "linear": (profiles.SRGB, 1.0),
    "P3": (profiles.P3, None),
    "Adobe": (profiles.ADOBE, 2.2),
    "ProPhoto": (profiles.PROPHOTO, 1.8),
}


def _picture(height: int = 40, width: int = 56) -> np.ndarray:
    """(h, w, 3) R'G'B' 0..1."""
    return sources.picture(3, 16)[np.arange(height)[:, None] % 17, np.arange(width) % 23] / 65535


@pytest.mark.parametrize("icc", [None, sources.srgb(), profiles.rgb("Camera RGB 7")])
def test_an_srgb_picture_is_fed_as_it_is(icc: bytes | None) -> None:
    image = Image(sources.picture(4, 8), icc=icc)
    view = srgb_view(image)
    assert view.image is image
    assert view.back(image) is image
    assert view.details() == {}


@pytest.mark.parametrize("name", SPACES)
def test_networks_see_srgb(name: str) -> None:
    """Within half a level of 255; 16 bits, so that shadows of linear light are not lost."""
    primaries, gamma = SPACES[name]
    shown = _picture()
    image = Image(profiles.stored(shown, primaries, gamma), icc=profiles.rgb(name, primaries, gamma))
    view = srgb_view(image)
    assert view.image.icc is None
    assert view.image.bit_depth == 16
    assert np.abs(view.image.pixels / 65535 - shown).max() < 0.1 / 255
    assert view.details() == {"colour": {"fed_as": "sRGB", "outside_srgb_share": 0.0}}


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_what_a_network_leaves_alone_comes_back_bit_for_bit(channels: int, depth: int, gamma: float) -> None:
    """All colours, a third to a half of them outside sRGB."""
    pixels = sources.picture(channels, depth)
    if channels in (2, 4):
        pixels[:4, :, :-1][pixels[:4, :, -1] == 0] = 0
        pixels[:, 0] = 0
    icc = profiles.grey(gamma) if channels <= 2 else profiles.rgb("wide", profiles.PROPHOTO, gamma)
    image = Image(pixels, icc=icc, exif=b"II*\0")
    view = srgb_view(image)
    back = view.back(view.image)
    assert np.array_equal(back.pixels, pixels)
    assert back.pixels.dtype == pixels.dtype
    assert (back.icc, back.exif) == (icc, b"II*\0")


def test_colours_outside_srgb_are_not_clipped() -> None:
    """P3's own red, twice as large: a network that only enlarges gives it back."""
    pixels = np.full((24, 24, 3), 65535, np.uint16)
    pixels[:, :12] = (65535, 0, 0)
    view = srgb_view(Image(pixels, icc=profiles.rgb("P3", profiles.P3)))
    assert view.details()["colour"]["outside_srgb_share"] == 0.5
    assert view.image.pixels.max() == 65535
    twice = np.asarray(cv2.resize(view.image.pixels, (48, 48), interpolation=cv2.INTER_LINEAR), np.uint16)
    back = view.back(replace(view.image, pixels=twice)).pixels
    assert np.abs(back[:, :22].astype(int) - (65535, 0, 0)).max() <= 64
    assert np.abs(back[:, 26:].astype(int) - 65535).max() <= 64


def test_a_table_is_fed_nearly_as_srgb() -> None:
    """It has no way back: networks are given the nearest curve and matrix; greys are those on screen."""
    grey = np.repeat(np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16, 1), 3, axis=2)
    image = Image(grey, icc=profiles.table())
    view = srgb_view(image)
    eight = profiles.by_pillow((grey // 257).astype(np.uint8), profiles.table())
    assert np.abs(view.image.pixels / 257 - eight).max() < 1.6
    assert view.details()["colour"]["fed_as"] == "nearly sRGB (the profile is a table)"
    colours = srgb_view(Image(profiles.stored(_picture(), profiles.P3, 1.8), icc=profiles.table()))
    assert np.abs(colours.image.pixels / 65535 - _picture()).mean() < 1 / 255
    changed = np.clip(view.image.pixels.astype(int) + 3, 0, 65535).astype(np.uint16)
    back = view.back(replace(view.image, pixels=changed))
    assert np.abs(back.pixels.astype(int) - grey).max() < 40


def test_colour_under_alpha_0_is_0_and_alpha_keeps_its_depth() -> None:
    pixels = sources.picture(4, 8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    view = srgb_view(Image(pixels, icc=profiles.rgb("linear", gamma=1.0)))
    assert np.array_equal(view.image.pixels[..., 3], pixels[..., 3] * 257.0)
    moved = replace(view.image, pixels=view.image.pixels ^ np.uint16(1))
    moved.pixels[0, :, 3] = 1  # less than half a level of 8 bits
    back = view.back(moved).pixels
    assert not back[0].any()
    assert np.array_equal(back[1:, :, 3], pixels[1:, :, 3])
