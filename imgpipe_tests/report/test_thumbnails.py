from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from imgpipe.images.image import Image
from imgpipe.report import thumbnails as t
from imgpipe_tests.images import sources
from imgpipe_tests.report.datasets import drawing


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((640, 320), (320, 160)), ((100, 50), (100, 50)), ((1, 60000), (1, 320)), ((3000, 4), (320, 1))],
)
def test_fit_size_never_enlarges(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert t.fit_size(*size) == fitted


def test_an_opaque_thumbnail_is_pillows_box_average() -> None:
    picture = drawing(3, 320, 256)
    ours = t.area_thumbnail(Image(picture), (80, 64))
    theirs = np.asarray(PIL.Image.fromarray(picture).resize((80, 64), PIL.Image.Resampling.BOX))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_invisible_colours_do_not_leak_into_a_cutout() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[...] = (255, 0, 0, 0)
    pixels[:, 20:] = (0, 0, 255, 255)
    seen = t.area_thumbnail(Image(pixels), (16, 16), on_checkerboard=False)
    assert tuple(seen[8, 0]) == (255, 255, 255)
    assert tuple(seen[8, 12]) == (0, 0, 255)
    # A quarter of a cell's width of red would show as red above blue.
    assert (seen[..., 0] <= seen[..., 2]).all()


def test_half_transparent_pixels_mix_with_the_ground() -> None:
    pixels = np.full((8, 8, 4), (100, 200, 40, 128), np.uint8)
    seen = t.area_thumbnail(Image(pixels), (8, 8), on_checkerboard=False)
    expected = np.array([100, 200, 40]) * 128 / 255 + 255 * 127 / 255
    assert np.abs(seen[0, 0] - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_every_layout_become_eight_bit_rgb(channels: int) -> None:
    pixels = np.full((6, 5, channels), 65535, np.uint16)
    pixels[..., 0] = 257 * 90
    colour, alpha = t.premultiplied(Image(pixels))
    assert colour.shape == (6, 5, 3)
    assert (colour[..., 0] == 90).all()
    assert (alpha is None) == (channels in (1, 3))


def test_a_profile_is_honoured() -> None:
    # A grey profile of gamma 1: linear 0.5 is 188 in sRGB.
    pixels = np.full((16, 16, 1), 128, np.uint8)
    seen = t.area_thumbnail(Image(pixels, icc=sources.grey_icc(gamma=1.0)), (8, 8))
    assert abs(int(seen[0, 0, 0]) - 188) <= 2


def test_the_heat_map_is_grey_where_nothing_differs_and_hot_where_it_does() -> None:
    picture = drawing(6)
    levels = np.zeros(picture.shape[:2], np.float32)
    levels[30, :] = 32
    heat = t.heat_thumbnail(Image(picture), levels, (96, 128)).astype(int)
    spread = heat.max(axis=2) - heat.min(axis=2)
    assert spread[31:].max() == 0
    assert (heat[30, :, 0] > heat[30, :, 2]).all()


def test_the_hottest_region_holds_the_planted_defect_at_full_size() -> None:
    reference = Image(drawing(7, 400, 300))
    result = Image(np.repeat(np.repeat(reference.pixels, 4, axis=0), 4, axis=1))
    levels = np.zeros((300, 400), np.float32)
    levels[250:260, 380:390] = 40
    before, after = t.hottest_region(levels, reference, result)
    left, top, width, height = before
    assert left <= 380 < 390 <= left + width
    assert top <= 250 < 260 <= top + height
    assert after == (left * 4, top * 4, width * 4, height * 4)
    crop = t.crop_thumbnail(result, after, (after[2], after[3]))
    expected = result.pixels[after[1] : after[1] + after[3], after[0] : after[0] + after[2]]
    assert np.array_equal(crop, expected)


def test_webp_is_small_and_readable_by_pillow() -> None:
    data = t.encode_webp(drawing(8, 320, 240))
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (320, 240))
    assert len(data) < 20_000
