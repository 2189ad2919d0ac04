from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image
from imgpipe.images.rgb_space import space_of
from imgpipe.images.srgb import srgb_profile
from imgpipe.matting.compose import composite_on, mask_of
from imgpipe_tests.images import profiles

Depth = type[np.uint8] | type[np.uint16]


def _cutout(dtype: Depth = np.uint8, channels: int = 4, side: tuple[int, int] = (40, 30)) -> Image:
    rng = np.random.default_rng(1)
    full = int(np.iinfo(dtype).max)
    pixels: np.ndarray = rng.integers(0, full, (*side, channels), endpoint=True).astype(dtype)
    pixels[:10, :, -1], pixels[10:20, :, -1] = 0, full
    return Image(pixels, exif=b"exif", xmp=b"xmp", source_format="PNG")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_colour_shows_where_the_cutout_does_not(dtype: Depth, channels: int) -> None:
    cutout = _cutout(dtype, channels)
    result = composite_on(cutout, (10, 200, 30))
    assert (result.pixels.dtype, result.channels) == (np.dtype(dtype), 3)
    assert (result.exif, result.xmp, result.source_format) == (b"exif", b"xmp", "PNG")
    depth = 257 if dtype == np.uint16 else 1
    np.testing.assert_array_equal(result.pixels[:10], np.full((10, 30, 3), (10, 200, 30)) * depth)
    np.testing.assert_array_equal(result.pixels[10:20], np.broadcast_to(cutout.colour[10:20], (10, 30, 3)))
    alpha = cutout.pixels[..., -1:].astype(np.float64) / cutout.max_value
    expected = cutout.colour * alpha + np.array([10, 200, 30]) * depth * (1 - alpha)
    assert np.abs(result.pixels - expected).max() <= 0.5 + 1e-6


def test_agrees_with_pillow() -> None:
    cutout = _cutout()
    behind = np.random.default_rng(2).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    expected = PIL.Image.fromarray(behind).convert("RGBA")
    expected.alpha_composite(PIL.Image.fromarray(cutout.pixels))
    ours = composite_on(cutout, Image(behind)).pixels.astype(int)
    assert np.abs(ours - np.asarray(expected.convert("RGB"))).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (90, 10), (7, 7), (300, 500)])
def test_a_picture_covers_and_is_cut_centrally(height: int, width: int) -> None:
    xs, ys = np.linspace(0, 200, width), np.linspace(0, 200, height)
    behind = np.dstack([*np.broadcast_arrays(xs[None], ys[:, None]), np.full((height, width), 9)])
    nothing = Image(np.zeros((40, 30, 4), np.uint8))
    result = composite_on(nothing, Image(np.rint(behind).astype(np.uint8))).pixels.astype(float)
    assert result.shape == (40, 30, 3)
    # A linear ramp stays one with its middle in the middle, and one axis is seen from end to end.
    assert np.median(result[..., 0]) == pytest.approx(100, abs=12)
    assert np.median(result[..., 1]) == pytest.approx(100, abs=12)
    factor = max(30 / width, 40 / height)
    seen = (30 / factor / width, 40 / factor / height)
    assert max(seen) == pytest.approx(1)
    for channel, share in enumerate(seen):
        assert np.ptp(result[..., channel]) == pytest.approx(200 * share, rel=0.2, abs=6)


def test_sixteen_bits_of_the_background_reach_the_result() -> None:
    behind = np.arange(40 * 30 * 3, dtype=np.uint16).reshape(40, 30, 3) * 17
    nothing = Image(np.zeros((40, 30, 4), np.uint16))
    np.testing.assert_array_equal(composite_on(nothing, Image(behind)).pixels, behind)


def test_a_translucent_background_stays_translucent() -> None:
    cutout = Image(np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8))
    behind = Image(np.full((1, 3, 4), (0, 0, 100, 102), np.uint8))
    result = composite_on(cutout, behind)
    half, back = 128 / 255, 0.4
    total = half + back * (1 - half)
    mixed = (np.array([200, 0, 0]) * half + np.array([0, 0, 100]) * back * (1 - half)) / total
    expected = [[200, 0, 0, 255], [0, 0, 100, 102], [*mixed, total * 255]]
    np.testing.assert_allclose(result.pixels[0], expected, atol=0.51)
    opaque = Image(np.full((1, 3, 4), (0, 0, 100, 255), np.uint8))
    assert composite_on(cutout, opaque).channels == 3


def _swapped_primaries() -> bytes:
    """sRGB with red and green exchanged: a conversion to it exchanges the two channels."""
    raw = srgb_profile()
    entries = range(132, 132 + 12 * int.from_bytes(raw[128:132], "big"), 12)
    at = {raw[start : start + 4]: slice(start + 4, start + 12) for start in entries}
    swapped = bytearray(raw)
    swapped[at[b"rXYZ"]], swapped[at[b"gXYZ"]] = raw[at[b"gXYZ"]], raw[at[b"rXYZ"]]
    profile = bytes(swapped).replace("sRGB".encode("utf-16-be"), "odd ".encode("utf-16-be"))
    assert space_of(profile) is not None
    return profile


def test_the_background_is_converted_to_the_cutouts_profile() -> None:
    odd = _swapped_primaries()
    cutout = replace(_cutout(), icc=odd)
    result = composite_on(cutout, (10, 200, 30))
    assert result.icc == odd
    np.testing.assert_allclose(result.pixels[:10], np.broadcast_to((200, 10, 30), (10, 30, 3)), atol=2)
    np.testing.assert_array_equal(result.pixels[10:20], cutout.colour[10:20])
    plain = composite_on(_cutout(), Image(np.full((40, 30, 3), (200, 10, 30), np.uint8), icc=odd))
    assert plain.icc is None
    np.testing.assert_allclose(plain.pixels[:10], np.broadcast_to((10, 200, 30), (10, 30, 3)), atol=2)
    both = composite_on(cutout, Image(np.full((40, 30, 3), (1, 2, 3), np.uint8), icc=odd))
    np.testing.assert_array_equal(both.pixels[:10], np.broadcast_to((1, 2, 3), (10, 30, 3)))


@pytest.mark.parametrize("icc", [profiles.rgb("P3", profiles.P3), profiles.table()], ids=["P3", "table"])
def test_a_background_looks_the_same_in_the_cutouts_profile(icc: bytes) -> None:
    """As Little CMS shows it; a table has no way back, so its colours are near, and a note says so."""
    result = composite_on(replace(_cutout(), icc=icc), (30, 140, 220))
    shown = profiles.by_pillow(np.asarray(result.pixels[:10], np.uint8), icc)
    off_by = np.abs(shown - np.array((30, 140, 220))).max()
    is_table = icc == profiles.table()
    assert off_by <= (12 if is_table else 1)
    assert any("a table" in note for note in result.notes) == is_table


def test_a_grey_cutout_is_shown_through_its_profile() -> None:
    """Right values by Little CMS; the result is in colour, so in sRGB."""
    grey = np.dstack([np.arange(256, dtype=np.uint8).reshape(16, 16), np.full((16, 16), 255, np.uint8)])
    result = composite_on(Image(grey, icc=profiles.grey(1.0)), (9, 9, 9))
    expected = profiles.by_pillow(grey[..., :1].copy(), profiles.grey(1.0))
    assert np.abs(result.pixels.astype(int) - expected).max() <= 1
    assert result.icc is None
    assert any("its ICC profile was for grey" in note for note in result.notes)


def test_a_cutout_without_alpha_hides_the_background() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    np.testing.assert_array_equal(composite_on(Image(pixels), (1, 2, 3)).pixels, pixels)


@pytest.mark.parametrize("colour", [(256, 0, 0), (-1, 0, 0), (1, 2), (1, 2, 3, 4)])
def test_a_colour_outside_its_range_is_refused(colour: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match=r"0\.\.255"):
        composite_on(_cutout(), colour)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_tiny_cutouts_are_defined(shape: tuple[int, int]) -> None:
    behind = Image(np.full((13, 17, 1), 77, np.uint8))
    result = composite_on(Image(np.zeros((*shape, 4), np.uint8)), behind)
    np.testing.assert_array_equal(result.pixels, np.full((*shape, 3), 77))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_the_mask_is_the_alpha(dtype: Depth, channels: int) -> None:
    cutout = _cutout(dtype, channels)
    mask = mask_of(cutout)
    assert (mask.channels, mask.pixels.dtype, mask.icc, mask.exif) == (1, np.dtype(dtype), None, None)
    np.testing.assert_array_equal(mask.pixels[..., 0], cutout.alpha)


def test_a_picture_without_alpha_is_all_subject() -> None:
    mask = mask_of(Image(np.zeros((3, 4, 3), np.uint16)))
    np.testing.assert_array_equal(mask.pixels, np.full((3, 4, 1), 65535))
