from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.quality.blocking import grid_ratio, grid_ratio_of, step_profile
from imgpipe_tests.opencv_files import opencv_decode, present
from imgpipe_tests.quality.drawings import area, draw, enlarge


def grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def jpeg(plane: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return opencv_decode(data, cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("height", [512, 49])  # 49: less than a band.
def test_profiles_equal_plain_differences(height: int) -> None:
    plane = np.random.default_rng(1).integers(0, 256, (height, 64), np.uint8)
    for turned, axis in ((False, 1), (True, 0)):
        steps = np.abs(np.diff(plane.astype(int), axis=axis))
        expected = np.clip(steps - 1, 0, None).mean(axis=1 - axis)
        assert step_profile(plane, turned=turned) == pytest.approx(expected)


@pytest.mark.parametrize("span", [(40, 220), (10, 60), (0, 255), (90, 100)])
def test_the_rounding_steps_of_a_gradient_are_no_blocks(span: tuple[int, int]) -> None:
    ramp = np.rint(np.linspace(*span, 256)).astype(np.uint8)
    source = np.broadcast_to(ramp[None, :, None], (64, 256, 3))
    assert grid_ratio(grey(source), grey(enlarge(source))) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("slope", [1.125, 2.125, 1.03, 0.9])
def test_a_rounded_gradient_of_about_a_level_a_pixel_is_no_blocks(slope: float) -> None:
    """At 9/8 a step of two levels lies on every line of the grid, among steps of one."""
    ramp = np.rint(128 + slope * (np.arange(128) - 60.2)).clip(0, 255).astype(np.uint8)
    plane = np.broadcast_to(ramp, (64, 128))
    assert present(grid_ratio_of(np.ascontiguousarray(plane))) <= 1.5


def test_lone_steps_equal_plain_differences() -> None:
    plane = np.random.default_rng(1).integers(0, 256, (49, 70), np.uint8)
    steps = np.diff(plane.astype(int), axis=1)
    before, after = np.abs(steps[:, 1:-1] - steps[:, :-2]), np.abs(steps[:, 1:-1] - steps[:, 2:])
    expected = np.maximum(np.minimum(before, after) - 1, 0).mean(axis=0)
    assert step_profile(plane, lone=True)[1:-1] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_jpeg_blocks_and_nearest_neighbour_stand_out(seed: int) -> None:
    source = area(draw(seed))
    clean = enlarge(source)
    assert present(grid_ratio(grey(source), grey(clean))) < 1.5
    assert present(grid_ratio(grey(source), grey(np.repeat(np.repeat(source, 4, 0), 4, 1)))) > 2.5


@pytest.mark.parametrize("scale", [2, 4])
def test_steps_of_pixel_art_that_an_enlargement_puts_on_the_grid_are_its_own(scale: int) -> None:
    art = np.random.default_rng(7).choice(np.array([30, 90, 160, 230], np.uint8), (16, 16))
    source = np.kron(art, np.ones((8 // scale, 8 // scale), np.uint8))
    sharp = cv2.resize(source, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).astype(int)
    sharp = np.clip(3 * (sharp - 128) + 128, 0, 255).astype(np.uint8)
    assert present(grid_ratio_of(sharp)) > 2.0
    assert present(grid_ratio(source, sharp)) < 1.5


def test_ratio_grows_with_compression() -> None:
    plane = grey(draw(3))
    noise = np.random.default_rng(0).normal(0, 40, plane.shape).astype(np.float32)
    plane = (plane + cv2.GaussianBlur(noise, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    ratios = [present(grid_ratio_of(jpeg(plane, quality))) for quality in (95, 40, 10)]
    assert ratios[0] < 1.5
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 2


def test_the_references_own_blocks_are_not_held_against_the_result() -> None:
    noise = np.random.default_rng(2).normal(128, 30, (256, 256)).astype(np.float32)
    blocky = jpeg(cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8), 10)
    assert present(grid_ratio_of(blocky)) > 2
    assert grid_ratio(blocky, blocky) == 1.0


def test_a_drawings_own_edges_on_the_grid_do_not_count() -> None:
    plane = np.zeros((256, 256), np.uint8)
    plane[64:128, 64:192] = 200
    assert grid_ratio_of(plane) == 1.0


def test_too_small_is_no_answer() -> None:
    assert grid_ratio_of(np.zeros((63, 64), np.uint8)) is None
    assert grid_ratio(np.zeros((8, 8), np.uint8), np.zeros((16, 16), np.uint8)) is None
