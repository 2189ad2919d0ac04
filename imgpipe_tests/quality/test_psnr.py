from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from imgpipe.quality.psnr import mean_squared_error, psnr
from imgpipe_tests.quality.drawings import area, draw, enlarge


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(7, 5), (64, 48, 3), (300, 1200, 3)])
def test_equals_scikit_image(dtype: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    a: Any = rng.integers(0, 256, shape).astype(dtype)
    b: Any = np.clip(a + rng.normal(0, 9, shape), 0, 255).astype(dtype)
    truth = peak_signal_noise_ratio(a.astype(np.float64), b.astype(np.float64), data_range=255)
    assert psnr(a, b) == pytest.approx(truth, abs=1e-6)


def test_on_drawings_against_scikit_image() -> None:
    for seed in range(5):
        high = draw(seed)
        back = enlarge(area(high))
        truth = peak_signal_noise_ratio(high, back, data_range=255)
        assert psnr(high, back) == pytest.approx(truth, abs=1e-6)


def test_identical_has_no_finite_psnr() -> None:
    a = draw(0, 32, 32, 1)
    assert psnr(a, a.copy()) is None
    assert mean_squared_error(a, a.copy()) == 0.0


def test_one_level_everywhere_has_the_closed_form() -> None:
    a = np.full((9, 11, 3), 100, np.uint8)
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_is_symmetric() -> None:
    a, b = draw(1, 40, 30, 1), draw(2, 40, 30, 1)
    assert psnr(a, b) == psnr(b, a)


def test_weights_select_pixels() -> None:
    rng = np.random.default_rng(3)
    a = rng.uniform(0, 255, (20, 30, 3)).astype(np.float32)
    b = a.copy()
    b[:10] += 10
    weight = np.zeros((20, 30), np.float32)
    weight[5:10] = 0.5
    assert psnr(a, b, weight) == pytest.approx(10 * math.log10(255**2 / 100), abs=1e-4)
    assert psnr(a, b, 1 - np.ceil(weight)) != psnr(a, b)
    assert psnr(a, b, np.zeros((20, 30), np.float32)) is None


def test_refuses_other_shapes_and_dtypes() -> None:
    a = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="one shape and dtype"):
        psnr(a, np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="one shape and dtype"):
        psnr(a, a.astype(np.float32))
    with pytest.raises(ValueError, match="weights of shape"):
        psnr(a, a, np.zeros((5, 4), np.float32))
