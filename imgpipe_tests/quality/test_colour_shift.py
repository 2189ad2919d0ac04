from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from imgpipe.quality.colour_shift import colour_shift, local_colour_shift
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.drawings import draw


def pair() -> tuple[np.ndarray, np.ndarray]:
    a = draw(4, 200, 160, 1).astype(np.float32)
    return a, a + np.random.default_rng(0).normal(0, 5, a.shape).astype(np.float32)


def test_constant_shift_is_measured_through_noise() -> None:
    a, b = pair()
    b = b - (b - a).mean(axis=(0, 1)) + np.array([0, -3, 1], np.float32)
    assert colour_shift(a, b) == pytest.approx(3.0, abs=1e-3)
    assert colour_shift(a, a) == 0.0


def test_local_shift_sees_a_patch_that_the_mean_does_not() -> None:
    a = draw(4, 200, 160, 1).astype(np.float32)
    b = a.copy()
    b[40:110, 50:120, 2] += 6
    assert local_colour_shift(a, b) == pytest.approx(6.0, abs=0.2)
    assert present(colour_shift(a, b)) < 1.0


def test_local_shift_is_a_gaussian_low_pass() -> None:
    a, b = pair()
    b[40:60, 50:90] += 20
    truth = np.abs(gaussian_filter((b - a).astype(np.float64), (12, 12, 0), mode="reflect")).max()
    assert local_colour_shift(a, b) == pytest.approx(truth, rel=0.05)


def test_a_cutouts_shift_is_that_of_its_colour() -> None:
    """A soft-edged figure over white, its colour 10 off: the empty ground must not dilute that."""
    y, x = np.mgrid[:120, :160]
    alpha = np.clip((50 - np.hypot(x - 80, y - 60)) / 8, 0, 1).astype(np.float32)
    over_white = 255 + alpha[..., None] * (np.array([200, 90, 60], np.float32) - 255)
    shifted = 255 + alpha[..., None] * (np.array([200, 100, 60], np.float32) - 255)
    assert colour_shift(over_white, shifted, alpha) == pytest.approx(10, abs=1e-3)
    assert local_colour_shift(over_white, shifted, alpha) == pytest.approx(10, abs=1e-3)
    assert colour_shift(over_white, shifted, np.zeros_like(alpha)) is None
    assert local_colour_shift(over_white, shifted, np.zeros_like(alpha)) is None


def test_a_softened_cutout_has_not_shifted() -> None:
    y, x = np.mgrid[:120, :160]
    alpha = (np.hypot(x - 80, y - 60) < 40).astype(np.float32)
    soft = gaussian_filter(alpha, 1.0)
    weight = np.maximum(alpha, soft)
    hard_picture, soft_picture = (np.repeat(a[..., None] * 200, 3, axis=2) for a in (alpha, soft))
    assert colour_shift(hard_picture, soft_picture, weight) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (9, 2)])
def test_tiny_pictures_are_defined(size: tuple[int, int]) -> None:
    a = np.full((*size, 3), 100, np.float32)
    assert colour_shift(a, a + 2) == pytest.approx(2.0)
    assert local_colour_shift(a, a + 2) == pytest.approx(2.0, abs=1e-4)
