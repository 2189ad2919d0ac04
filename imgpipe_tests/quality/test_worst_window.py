from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from imgpipe.quality.worst_window import worst_window
from imgpipe_tests.opencv_files import present


def test_equals_the_brute_force_minimum() -> None:
    similarity = np.random.default_rng(1).uniform(-1, 1, (40, 55)).astype(np.float32)
    means = sliding_window_view(similarity, (16, 16)).mean(axis=(2, 3))
    found = worst_window(similarity)
    assert found is not None
    y, x = np.unravel_index(means.argmin(), means.shape)
    assert found[0] == pytest.approx(float(means.min()), abs=1e-5)
    assert found[1] == (x, y)


def test_smaller_than_a_window_is_its_mean() -> None:
    similarity = np.random.default_rng(2).uniform(0, 1, (5, 9)).astype(np.float32)
    value, at = present(worst_window(similarity))
    assert value == pytest.approx(float(similarity.mean()), abs=1e-6)
    assert at == (0, 0)


def test_invisible_windows_do_not_count() -> None:
    similarity = np.ones((40, 80), np.float32)
    similarity[:, :30] = 0.1
    weight = np.zeros_like(similarity)
    weight[:, 40:] = 1
    found = worst_window(similarity, weight)
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert worst_window(similarity, np.zeros_like(weight)) is None


def test_weights_within_a_window() -> None:
    similarity = np.full((16, 16), 0.5, np.float32)
    similarity[:8] = 1.0
    weight = np.ones_like(similarity)
    weight[:8] = 0.5
    found = worst_window(similarity, weight)
    assert found is not None
    assert found[0] == pytest.approx((0.5 * 1.0 + 1 * 0.5) / 1.5, abs=1e-6)
