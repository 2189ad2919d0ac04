from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.quality.detail_loss import WINDOW_PX, detail_loss
from imgpipe_tests.quality.drawings import F32


@pytest.fixture(scope="module")
def picture() -> F32:
    plane = np.full((140, 600), 180, np.float32)  # several blocks in both directions
    for at in range(20, 580, 40):
        cv2.circle(plane, (at, 70), 6, 40.0, 2, cv2.LINE_AA)
    return plane


def test_the_same_picture_has_lost_nothing(picture: F32) -> None:
    assert detail_loss(picture, picture.copy())[0] == 0.0


def test_it_is_one_minus_ssim_of_the_worst_window(picture: F32) -> None:
    changed = np.random.default_rng(0).normal(picture, 9).astype(np.float32)
    worst, (box,) = detail_loss(picture, changed)
    windows = [
        np.lib.stride_tricks.sliding_window_view(plane.astype(np.float64), (WINDOW_PX, WINDOW_PX)).reshape(
            134, 594, -1
        )
        for plane in (picture, changed)
    ]
    away = [one - one.mean(axis=2, keepdims=True) for one in windows]
    covariance = (away[0] * away[1]).mean(axis=2)
    loss = 1 - (2 * covariance + 300) / (windows[0].var(axis=2) + windows[1].var(axis=2) + 300)
    assert worst >= loss.max() - 1e-4  # windows that stick out of the picture count as well
    assert loss[box.y, box.x] == pytest.approx(worst, abs=1e-3)


def test_one_erased_detail_is_found_where_it_was(picture: F32) -> None:
    erased = picture.copy()
    erased[60:81, 330:351] = 180
    worst, (box,) = detail_loss(picture, erased)
    assert worst > 0.9
    assert abs(box.x + 3 - 340) <= 10
    assert abs(box.y + 3 - 70) <= 10


def test_cleared_noise_of_a_few_levels_counts_little(picture: F32) -> None:
    noisy = np.random.default_rng(0).normal(picture, 3).astype(np.float32)
    assert detail_loss(noisy, picture)[0] < 0.15
