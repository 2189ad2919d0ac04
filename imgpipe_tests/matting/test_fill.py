"""Holes that are closed, and holes that are left."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.matting.fill import Filling, fill_solid, filled
from imgpipe.matting.matte import CoarseMatte
from imgpipe.settings import RembgSettings
from imgpipe_tests.matting.drawing import BACKGROUNDS, Float, as_a_network_would, make_scene

LOW, HIGH = 10 / 255, 240 / 255
SIDE = 200


def _scene(seed: int, background: str) -> tuple[np.ndarray, Float, Float]:
    """Picture, truth, and a soft disc deep inside the subject."""
    scene = make_scene(seed, background, SIDE)
    depth = cv2.distanceTransform((scene.alpha > 0.99).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(np.argmax(depth), depth.shape)
    disc = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(disc, (int(column), int(row)), 6, 1.0, -1)
    return scene.picture, scene.alpha, np.asarray(cv2.GaussianBlur(disc, (0, 0), 0.8), np.float32)


def _through(picture: np.ndarray, disc: Float, cover: float, tint: tuple[int, int, int]) -> np.ndarray:
    """The background of the picture's corner seen through the disc, ``cover`` of ``tint`` before it."""
    behind = cv2.resize(picture[:24, :24], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    seen = cover * np.array(tint, np.float32) + (1 - cover) * behind
    mixed = picture * (1 - disc[..., None]) + seen * disc[..., None]
    return np.rint(mixed).astype(np.uint8)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("left", [0.0, 0.6])
def test_a_punched_body_is_whole_again(background: str, left: float) -> None:
    picture, truth, disc = _scene(2, background)
    whole = as_a_network_would(truth)
    alpha, filling = filled(picture, whole * (1 - (1 - left) * disc), LOW, HIGH)
    assert (filling.holes, filling.filled, filling.background) == (1, 1, 0)
    error = np.abs(alpha - whole)
    assert error.max() < 0.1, f"max {error.max():.3f}, mean {error.mean():.5f}"
    assert filling.filled_share == pytest.approx(np.mean(whole * (1 - (1 - left) * disc) != alpha))


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_background_in_a_loop_is_left(background: str) -> None:
    picture, truth, disc = _scene(2, background)
    mask = as_a_network_would(truth * (1 - disc))
    alpha, filling = filled(_through(picture, disc, 0.0, (0, 0, 0)), mask, LOW, HIGH)
    assert (filling.holes, filling.background, filling.filled_share) == (1, 1, 0)
    np.testing.assert_array_equal(alpha, mask)


def test_another_thing_behind_a_loop_is_left_where_the_outside_has_several() -> None:
    picture, truth, disc = _scene(2, "drawn")
    strange = _through(picture, disc, 1.0, (255, 0, 255))
    assert filled(strange, as_a_network_would(truth * (1 - disc)), LOW, HIGH)[1].background == 1
    picture, truth, disc = _scene(2, "flat")
    strange = _through(picture, disc, 1.0, (255, 0, 255))
    assert filled(strange, as_a_network_would(truth * (1 - disc)), LOW, HIGH)[1].filled == 1


@pytest.mark.parametrize("cover", [0.3, 0.6])
def test_glass_is_left_and_what_no_glass_could_be_is_not(cover: float) -> None:
    picture, truth, disc = _scene(2, "flat")
    mask = as_a_network_would(truth * (1 - (1 - cover) * disc))
    glass = _through(picture, disc, cover, (90, 255, 160))
    assert filled(glass, mask, LOW, HIGH)[1].translucent == 1
    solid = _through(picture, disc, 1.0, (0, 255, 0))
    # The same alpha, but a colour that no tint before this background makes at that alpha.
    assert filled(solid, mask, LOW, HIGH)[1].filled == 1


def test_a_notch_a_border_and_the_whole_picture_are_no_holes() -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    picture[10:50, 10:60] = (30, 60, 150)
    alpha = np.zeros((60, 60), np.float32)
    alpha[10:50, 10:60] = 1
    alpha[20:30, 50:60] = 0.5  # reaches the border
    alpha[35:40, 10:30] = 0.5  # reaches the outside
    result, filling = filled(picture, alpha, LOW, HIGH)
    assert filling == Filling(HIGH, 0)
    assert result is alpha
    everywhere = np.ones((60, 60), np.float32)
    everywhere[20:30, 20:30] = 0
    assert filled(picture, everywhere, LOW, HIGH)[1] == Filling(HIGH, 1, unjudged=1)


def test_before_noise_of_all_colours_nothing_is_filled() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    alpha = np.zeros((300, 300), np.float32)
    alpha[50:250, 50:250] = 1
    alpha[120:150, 120:150] = 0.5
    assert filled(picture, alpha, LOW, HIGH)[1].background == 1


@pytest.mark.parametrize("factor", [np.uint8(1), np.uint16(257)])
def test_the_settings_thresholds_decide_and_the_row_says_it(factor: np.uint8 | np.uint16) -> None:
    deep = np.full((60, 60, 3), 200, np.uint8)
    deep[10:50, 10:50] = (30, 60, 150)
    picture = Image(deep * factor)
    alpha = np.zeros((60, 60), np.float32)
    alpha[10:50, 10:50] = 0.85
    alpha[20:30, 20:30] = 0.4
    coarse = CoarseMatte(alpha, 1.0, 1.0, details={"kept": 1})
    assert fill_solid(picture, coarse, RembgSettings()).details["fill"]["holes"] == 0
    result = fill_solid(picture, coarse, RembgSettings(foreground_threshold=200))
    assert result.details == {
        "kept": 1,
        "fill": {
            "threshold": 200 / 255,
            "holes": 1,
            "filled": 1,
            "background": 0,
            "translucent": 0,
            "unjudged": 0,
            "filled_share": 100 / 3600,
        },
    }
    assert result.metrics == {"filled_share": 100 / 3600}
    assert (result.alpha[20:30, 20:30] == 1).all()
    assert np.count_nonzero(result.alpha != alpha) == 100
