from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, laplace

from imgpipe.quality.detail import detail_ratio, laplacian_energy
from imgpipe_tests.quality.drawings import draw

PLANE = draw(6, 128, 96, 1).mean(axis=2).astype(np.float32)


def test_energy_equals_scipy() -> None:
    truth = np.mean(laplace(PLANE.astype(np.float64), mode="nearest") ** 2)
    assert laplacian_energy(PLANE) == pytest.approx(truth, rel=1e-5)


def test_contrast_scales_the_ratio() -> None:
    assert detail_ratio(PLANE, PLANE) == 1.0
    assert detail_ratio(PLANE, PLANE * np.float32(1.5)) == pytest.approx(1.5, abs=0.01)


def test_blur_is_below_and_sharpening_above_one() -> None:
    blurred = gaussian_filter(PLANE, 1.0)
    assert detail_ratio(PLANE, blurred) < 0.5
    assert detail_ratio(PLANE, PLANE + (PLANE - blurred)) > 1.4


def test_flat_pictures_have_ratio_one_whatever_their_grain() -> None:
    flat = np.full((20, 20), 50, np.float32)
    assert detail_ratio(flat, flat) == 1.0
    assert detail_ratio(flat, flat + np.float32(0.05) * np.eye(20, dtype=np.float32)) < 1.01


def test_weight_hides() -> None:
    other = PLANE.copy()
    other[:, 64:] = 0
    weight = np.zeros_like(PLANE)
    weight[:, :60] = 1
    assert detail_ratio(PLANE, other, weight) == 1.0
    assert detail_ratio(PLANE, other, np.zeros_like(weight)) == 1.0
