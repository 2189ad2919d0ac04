import cv2
import numpy as np
import pytest
from scipy import ndimage

from imgpipe.errors import ConfigError
from imgpipe.matting.trimap import make_trimap, scaled_erosion_px, shrink


def _trimap(coarse: np.ndarray, erosion_px: float) -> np.ndarray:
    return make_trimap(
        coarse.astype(np.float32), foreground_threshold=240, background_threshold=10, erosion_px=erosion_px
    )


def test_thresholds_are_exclusive_on_the_255_scale() -> None:
    levels = np.array([[0, 9, 10, 11, 128, 240, 241, 255]])
    np.testing.assert_array_equal(_trimap(levels / 255, 0), [[0, 0, 128, 128, 128, 128, 255, 255]])


@pytest.mark.parametrize(("foreground", "background"), [(270, 10), (255, 10), (10, 10), (240, -1), (5, 9)])
def test_thresholds_that_cannot_be_met_are_refused(foreground: int, background: int) -> None:
    with pytest.raises(ConfigError, match="240"):
        make_trimap(
            np.zeros((4, 4), np.float32),
            foreground_threshold=foreground,
            background_threshold=background,
            erosion_px=0,
        )


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_a_thick_area_is_eroded_by_a_disc(radius: int) -> None:
    mask = np.zeros((80, 80), bool)
    cv2.circle(canvas := mask.astype(np.uint8), (40, 40), 30, 1, -1)
    mask = canvas > 0
    expected = ndimage.distance_transform_edt(mask) > radius
    np.testing.assert_array_equal(shrink(mask, radius), expected)


@pytest.mark.parametrize("thickness", [1, 2, 3, 4, 5, 6])
def test_a_strand_keeps_a_connected_core(thickness: int) -> None:
    coarse = np.zeros((64, 64))
    coarse[10:54, 30 : 30 + thickness] = 1
    trimap = _trimap(coarse, 6)
    assert (trimap[13:51] == 255).any(axis=1).all(), "a row of the strand has no certain subject left"
    assert not (trimap[coarse > 0] == 0).any()


def test_a_diagonal_strand_keeps_its_core() -> None:
    canvas = np.zeros((96, 96), np.uint8)
    cv2.line(canvas, (10, 15), (85, 70), 255, 4)
    core = _trimap(canvas / 255, 8) == 255
    assert cv2.connectedComponents(core.astype(np.uint8))[0] - 1 <= 3
    assert core.any(axis=0)[12:83].mean() > 0.9


def test_a_gap_between_strands_stays_background_in_its_middle() -> None:
    coarse = np.ones((64, 64))
    coarse[:, 30:35] = 0
    trimap = _trimap(coarse, 6)
    assert (trimap[:, 32] == 0).all()
    assert (trimap[:, 28] == 128).all()


def test_the_border_of_the_picture_does_not_erode() -> None:
    assert (_trimap(np.ones((20, 20)), 5) == 255).all()
    assert (_trimap(np.zeros((20, 20)), 5) == 0).all()


def test_the_background_is_shrunk_twice_as_far() -> None:
    coarse = np.zeros((100, 100))
    coarse[30:70, 30:70] = 1
    row = _trimap(coarse, 4)[50]
    assert np.flatnonzero(row == 255)[0] == 34
    assert np.flatnonzero(row[:50] == 0)[-1] == 21


def test_erosion_scales_with_the_picture() -> None:
    assert scaled_erosion_px(3, 1024, 700) == 3
    assert scaled_erosion_px(3, 100, 4096) == 12
    assert scaled_erosion_px(3, 64, 64) == 3
    assert scaled_erosion_px(0, 4096, 4096) == 0
