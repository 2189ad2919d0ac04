from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from imgpipe.quality.subpixel_shift import subpixel_shift

SMOOTH = gaussian_filter(np.random.default_rng(5).normal(0, 1, (120, 160)), 3) * 1500 + 128


@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.25, 0.0), (0.0, -0.25), (0.1, 0.4), (-0.5, 0.5)])
def test_measures_a_known_displacement(moved: tuple[float, float]) -> None:
    moved_picture = shift(SMOOTH, (moved[1], moved[0]), order=5, mode="nearest")
    a, b = (x[10:-10, 10:-10].astype(np.float32) for x in (SMOOTH, moved_picture))
    found = subpixel_shift(a, b)
    # Central differences underestimate this texture's gradient by some percent.
    assert found == pytest.approx(moved, abs=0.02)


def test_a_constant_or_a_blur_is_no_displacement() -> None:
    a = SMOOTH.astype(np.float32)
    assert subpixel_shift(a, a + 5) == pytest.approx((0, 0), abs=1e-4)
    assert subpixel_shift(a, gaussian_filter(a, 1.0)) == pytest.approx((0, 0), abs=0.01)


def test_a_direction_without_structure_counts_as_zero() -> None:
    stripes = np.tile(SMOOTH[0], (50, 1)).astype(np.float32)
    moved = shift(stripes.astype(np.float64), (0, 0.3), order=5, mode="nearest").astype(np.float32)
    found = subpixel_shift(stripes[:, 10:-10], moved[:, 10:-10])
    assert found == pytest.approx((0.3, 0.0), abs=0.01)


def test_steps_of_a_level_that_are_cleared_away_are_no_displacement() -> None:
    blocks = np.repeat(np.repeat(np.random.default_rng(1).integers(4, 6, (12, 16)), 8, 0), 8, 1)
    cleared = gaussian_filter(blocks.astype(np.float32), 3) + np.linspace(0, 1, 128, dtype=np.float32)
    found = subpixel_shift(blocks.astype(np.float32), cleared)
    assert found is None or found == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (20, 20)])
def test_no_structure_is_no_answer(shape: tuple[int, int]) -> None:
    flat = np.full(shape, 77, np.float32)
    assert subpixel_shift(flat, flat) is None
