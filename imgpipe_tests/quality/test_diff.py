from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.difference import difference
from imgpipe.quality.diff import diff_image
from imgpipe.quality.score import score
from imgpipe.settings import QualitySettings
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.drawings import image


def flat(value: int = 100, width: int = 200, height: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def turbo(level: int) -> tuple[int, ...]:
    bgr = cv2.applyColorMap(np.array([[level]], np.uint8), cv2.COLORMAP_TURBO)[0, 0]
    return tuple(int(v) for v in bgr[::-1])


@pytest.mark.parametrize(("step", "level"), [(32, 255), (100, 255), (16, 128)])
def test_colours_follow_the_fixed_scale(step: int, level: int) -> None:
    result = flat()
    result[50:60, 70:90, 0] += step
    picture = diff_image(image(flat()), image(result)).pixels
    assert picture.shape == (120 + 22, 200, 3)
    assert tuple(int(v) for v in picture[55, 80]) == turbo(level)
    assert tuple(int(v) for v in picture[5, 5]) == (150, 150, 150)  # 0.6 * 100 + 90: grey, no heat


def test_the_bar_runs_from_zero_to_32() -> None:
    picture = diff_image(image(flat(width=150)), image(flat(width=150))).pixels
    assert tuple(int(v) for v in picture[-1, 0]) == turbo(0)
    assert tuple(int(v) for v in picture[-1, -1]) == turbo(255)
    assert (picture[120:122] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (161, 3)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    picture = flat(width=size[0], height=size[1])
    assert diff_image(image(picture), image(picture)).width == size[0]


@pytest.mark.parametrize("channels", [(3, 3), (4, 4), (3, 4), (1, 1)])
def test_scoring_finds_the_differences_that_the_map_shows(channels: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (160, 128, 4)).astype(np.uint8)
    pixels[20:140, 20:100, 3] = 255
    large = np.asarray(cv2.resize(pixels, (512, 640), interpolation=cv2.INTER_LINEAR), np.uint8)
    before, after = (Image(one[..., :n].copy()) for one, n in zip((pixels, large), channels, strict=True))
    found = score(before, after, settings=QualitySettings()).differences
    assert np.abs(present(found) - difference(before, after)).max() < 1e-3
    assert score(before, after, settings=QualitySettings(diff=False)).differences is None
