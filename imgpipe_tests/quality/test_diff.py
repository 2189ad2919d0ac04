from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.difference import difference
from imgpipe.quality.diff import diff_png
from imgpipe.quality.score import score
from imgpipe.settings import QualitySettings
from imgpipe_tests.opencv_files import opencv_decode, present
from imgpipe_tests.quality.drawings import image


def flat(value: int = 100, width: int = 200, height: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def shown(before: Image, after: Image) -> np.ndarray:
    """The file as another reader than ours shows it, RGB."""
    return np.asarray(opencv_decode(diff_png(before, after), cv2.IMREAD_COLOR))[..., ::-1]


def turbo(level: int) -> tuple[int, ...]:
    bgr = cv2.applyColorMap(np.array([[level]], np.uint8), cv2.COLORMAP_TURBO)[0, 0]
    return tuple(int(v) for v in bgr[::-1])


@pytest.mark.parametrize(("step", "level"), [(32, 255), (100, 255), (16, 128)])
def test_colours_follow_the_fixed_scale(step: int, level: int) -> None:
    result = flat()
    result[50:60, 70:90, 0] += step
    picture = shown(image(flat()), image(result))
    assert picture.shape == (120 + 22, 200, 3)
    assert tuple(int(v) for v in picture[55, 80]) == turbo(level)
    grey = picture[5, 5].astype(int)
    assert np.ptp(grey) == 0
    assert abs(grey[0] - 150) <= 1.5  # 0.6 * 100 + 90, in steps of 2.9: no heat


def test_small_differences_tint_the_grey() -> None:
    """Half of the colour and half of the grey at 2 of 255, each by the scale's own definition."""
    source = np.repeat(np.arange(40, 250, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(50, axis=0)
    result = source.copy()
    result[..., 1] += 2
    grey = source[0, :, 0] * 0.6 + 90
    expected = (grey[:, None] + np.array(turbo(16))) / 2
    assert np.abs(shown(image(source), image(result))[20] - expected).max() <= 3.5


def test_the_bar_runs_from_zero_to_32() -> None:
    picture = shown(image(flat(width=150)), image(flat(width=150)))
    assert tuple(int(v) for v in picture[-1, 0]) == turbo(0)
    assert tuple(int(v) for v in picture[-1, -1]) == turbo(255)
    assert (picture[120:122] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (161, 3)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    picture = flat(width=size[0], height=size[1])
    assert shown(image(picture), image(picture)).shape == (size[1] + 22, size[0], 3)


@pytest.mark.parametrize("channels", [(3, 3), (4, 4), (3, 4), (1, 1)])
def test_scoring_finds_the_differences_that_the_map_shows(channels: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (160, 128, 4)).astype(np.uint8)
    pixels[20:140, 20:100, 3] = 255
    large = np.asarray(cv2.resize(pixels, (512, 640), interpolation=cv2.INTER_LINEAR), np.uint8)
    before, after = (Image(one[..., :n].copy()) for one, n in zip((pixels, large), channels, strict=True))
    found = score(before, after, settings=QualitySettings()).differences
    assert np.abs(present(found) - difference(before, after)).max() < 1e-3
    assert score(before, after, settings=QualitySettings(diff=False)).differences is None
