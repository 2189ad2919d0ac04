"""Conversions against closed forms, Pillow and scikit-image."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import ImageError
from imgpipe.images.colour import composite_over, fitted, luma, to_8_bit, to_srgb, to_srgb8
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.images.rgb_space import space_of
from imgpipe.images.srgb import srgb_profile
from imgpipe.inference.srgb_view import srgb_view
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import profiles, sources

PROFILES_OF_RGB = {
    "linear": profiles.rgb("linear", gamma=1.0),
    "Adobe RGB": profiles.rgb("Adobe", profiles.ADOBE, 2.2),
    "ProPhoto RGB": profiles.rgb("ProPhoto", profiles.PROPHOTO, 1.8),
    "table": profiles.table(),
    "not neutral": profiles.rgb("tinted", (profiles.SRGB[0], profiles.P3[0], profiles.SRGB[2]), 1.8),
}


def test_luma_is_bt601() -> None:
    rgb = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32) * 255
    expected = np.asarray(PIL.Image.fromarray(rgb.round().astype(np.uint8)).convert("L"))
    assert np.abs(luma(rgb.round()) - expected).max() <= 0.51
    assert luma(np.ones((1, 3), np.float32)) == pytest.approx(1.0)
    with pytest.raises(ImageError, match="3 channels"):
        luma(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (2, 8), (3, 16), (4, 8), (4, 16)])
def test_composite(channels: int, depth: int) -> None:
    image = Image(sources.picture(channels, depth))
    scaled = image.pixels.astype(np.float64) * 255 / image.max_value
    alpha = scaled[..., -1:] / 255 if image.has_alpha else 1.0
    colour = np.broadcast_to(scaled[..., : 1 if channels <= 2 else 3], (*scaled.shape[:2], 3))
    over_colour = colour * alpha + np.array([10.0, 200.0, 90.0]) * (1 - alpha)
    assert np.abs(composite_over(image, (10, 200, 90)) - over_colour).max() < 1e-3
    behind = sources.picture(3, 8, seed=1).astype(np.float32)
    expected = colour * alpha + behind * (1 - alpha)
    result = composite_over(image, behind)
    assert result.dtype == np.float32
    assert np.abs(result - expected).max() < 1e-3


def test_p3_becomes_srgb() -> None:
    """P3 red lies outside sRGB and is clipped to pure red; a P3 mid grey stays grey."""
    pixels = np.array([[[255, 0, 0], [128, 128, 128], [200, 100, 50]]], np.uint8)
    converted = to_srgb8(Image(pixels, icc=sources.display_p3()))
    assert converted[0, 0].tolist() == [255, 0, 0]
    assert np.ptp(converted[0, 1].astype(int)) <= 1
    # (200, 100, 50) in P3, gamma 2.2, by matrices: P3 -> XYZ (D65) -> sRGB.
    to_xyz = np.array(
        [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]]
    )
    to_rgb = np.array(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.969266, 1.8760108, 0.041556],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    )
    linear = np.clip(to_rgb @ to_xyz @ (np.array([200, 100, 50]) / 255) ** 2.2, 0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(converted[0, 2] - expected).max() <= 2.0


def test_srgb_and_no_profile_are_left_alone() -> None:
    pixels = sources.picture(4, 8)
    for icc in (None, srgb_profile(), sources.srgb(), b"no profile at all", sources.cmyk_icc()):
        assert np.array_equal(to_srgb8(Image(pixels, icc=icc)), pixels)


def test_grey_profiles_and_16_bits() -> None:
    """Linear grey of a half is sRGB 188; 16 bits are rounded, not cut."""
    grey = Image(np.full((2, 2, 2), 128, np.uint8), icc=sources.grey_icc())
    converted = to_srgb8(grey)
    assert converted.shape == (2, 2, 4)
    assert abs(int(converted[0, 0, 0]) - 188) <= 1
    assert converted[0, 0, 3] == 128
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(to_srgb8(Image(levels))[..., 0], np.floor(levels[..., 0] / 257 + 0.5))


def test_our_srgb_profile_is_the_same_every_day_and_srgb() -> None:
    assert space_of(srgb_profile()) is None
    assert srgb_profile()[24:36] == bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("channels", [3, 4])
def test_linear_light_is_converted_before_it_is_rounded(channels: int) -> None:
    """All dark sRGB levels in 16-bit linear light: 81 levels stay 81 (rounded first, they are 21)."""
    levels = np.arange(81)
    light = np.where(levels <= 10, levels / 255 / 12.92, ((levels / 255 + 0.055) / 1.055) ** 2.4)
    pixels = np.full((4, 81, channels), 65535, np.uint16)
    pixels[..., :3] = np.round(light * 65535)[None, :, None]
    image = Image(pixels, icc=profiles.rgb("linear", gamma=1.0))
    assert np.array_equal(to_srgb8(image)[0, :, :3], np.repeat(levels[:, None], 3, axis=1))
    sixteen = to_srgb(image)
    assert np.abs(sixteen.pixels[0, :, 0] / 257 - levels).max() < 0.04  # a stored level is up to 0.05
    assert sixteen.icc is None
    assert to_srgb(sixteen) is sixteen
    eight = to_8_bit(pixels)
    assert len(np.unique(to_srgb8(Image(eight, icc=image.icc))[..., 0])) == 21, "8 bits cannot hold them"


@pytest.mark.parametrize("name", ["icc_linear_elle.png", "icc_linear_gimp.png"])
def test_a_linear_profile_called_srgb_is_linear(name: str, shared: Path) -> None:
    """Right values by Little CMS."""
    image = _case(shared, f"srgb-by-name/{name}")
    assert to_srgb8(image)[16, 24].tolist() == [190, 191, 185]


def test_a_dark_ramp_keeps_its_levels(shared: Path) -> None:
    linear, srgb = (_case(shared, f"linear-16bit-feed/dark_{kind}.png") for kind in ("linear", "srgb"))
    fed = to_srgb8(linear)
    assert len(np.unique(fed)) == 81
    # The ramp has steps of half a level, which round to either side.
    assert np.abs(fed.astype(int) - to_srgb8(srgb)).max() <= 1


MISFITS = {
    "grey on RGB": (3, sources.grey_icc(), "it is for GRAY, the picture is RGB"),
    "CMYK on RGB": (4, sources.cmyk_icc(), "it is for CMYK, the picture is RGB"),
    "CMYK on grey": (1, sources.cmyk_icc(), "it is for CMYK, the picture is grey"),
    "Lab": (3, profiles.of_class(b"spac", b"Lab "), "it is for Lab, the picture is RGB"),
    "device link": (3, profiles.of_class(b"link"), "it is a device link, not a display's"),
    "abstract": (3, profiles.of_class(b"abst"), "it is an abstract profile, not a display's"),
    "unknown class": (1, profiles.of_class(b"what"), "it is of the unknown class b'what', not a display's"),
    "no tags": (3, profiles.without_tags(), "Little CMS cannot use it"),
    "one colour": (
        3,
        profiles.rgb("nothing", ((0.0, 0.0, 0.0),) * 3),
        "it shows the same colour for every value",
    ),
}


@pytest.mark.parametrize(("channels", "icc", "why"), MISFITS.values(), ids=MISFITS)
def test_a_profile_that_cannot_be_used_is_not_carried(channels: int, icc: bytes, why: str) -> None:
    """The values count as sRGB's and stay, in every step and in what is written, and a note says so."""
    pixels = sources.picture(channels, 8)
    meta = sources.chunk(b"iCCP", b"test\0\0" + zlib.compress(icc))
    data = sources.png_file(pixels, {1: 0, 3: 2, 4: 6}[channels], middle=meta)
    decoded = decode(data, name="misfit", limits=LimitSettings())
    assert np.array_equal(decoded.pixels, pixels)
    assert decoded.icc is None
    (note,) = decoded.notes
    assert note.startswith(f"ICC profile of {len(icc)} bytes not carried: {why}")
    assert note.endswith("; the colours are taken as sRGB")
    made_in_memory = Image(pixels, icc=icc)
    assert np.array_equal(to_srgb(made_in_memory).pixels, pixels)
    assert to_srgb(made_in_memory).notes == (note,)


@pytest.mark.parametrize("icc", [*PROFILES_OF_RGB.values()], ids=[*PROFILES_OF_RGB])
@pytest.mark.parametrize("colour", [0, 4], ids=["grey", "LA"])
def test_grey_with_a_profile_for_rgb_is_r_g_b(icc: bytes, colour: int) -> None:
    """Right values by Little CMS, for R = G = B."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 2 if colour else 1, axis=2)
    meta = sources.chunk(b"iCCP", b"test\0\0" + zlib.compress(icc))
    decoded = decode(sources.png_file(ramp, colour, middle=meta), name="grey", limits=LimitSettings())
    assert decoded.channels == 3 + bool(colour)
    assert decoded.icc == icc
    assert np.array_equal(decoded.pixels[..., :3], np.repeat(ramp[..., :1], 3, axis=2))
    assert decoded.notes == ("grey with an ICC profile for RGB: made RGB",)
    expected = profiles.by_pillow(np.repeat(ramp[..., :1], 3, axis=2), icc)
    for shown in (to_srgb8(decoded), to_srgb8(Image(ramp, icc=icc)), to_srgb(Image(ramp, icc=icc)).pixels):
        assert np.abs(shown[..., :3].astype(int) - expected).max() <= 1
        assert not colour or np.array_equal(shown[..., 3], ramp[..., 1])
    assert np.abs(srgb_view(Image(ramp, icc=icc)).image.pixels[..., :3] / 257 - expected).max() <= 2


@pytest.mark.parametrize("icc", [srgb_profile(), profiles.rgb("P3", profiles.P3)], ids=["sRGB", "P3"])
def test_grey_keeps_no_profile_that_changes_nothing(icc: bytes) -> None:
    """Greys are the same in sRGB and in Display P3."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.abs(profiles.by_pillow(np.repeat(ramp, 3, axis=2), icc) - ramp.astype(int)).max() <= 1
    image = fitted(Image(ramp, icc=icc))
    assert np.array_equal(image.pixels, ramp)
    assert image.icc is None
    assert image.notes == ("ICC profile for RGB not carried: this grey picture looks the same without it",)


def _case(shared: Path, name: str) -> Image:
    path = shared / "cases" / "images" / name
    return decode(path.read_bytes(), name=name, limits=LimitSettings())
