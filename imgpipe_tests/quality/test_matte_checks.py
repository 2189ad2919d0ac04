from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from imgpipe.quality.matte_checks import matte_facts
from imgpipe_tests.opencv_files import opencv_read, present


def disc(radius: float = 60, soft: float = 1.0) -> np.ndarray:
    """A disc whose alpha falls linearly from 1 to 0 over ``soft`` px."""
    y, x = np.mgrid[:200, :240]
    inside = radius - np.hypot(x - 120, y - 100)
    return np.clip(inside / soft + 0.5, 0, 1).astype(np.float32)


def test_a_disc_has_its_known_facts() -> None:
    facts = matte_facts(disc())
    assert facts["foreground"] == pytest.approx(np.pi * 60**2 / (200 * 240), rel=0.01)
    assert (facts["components"], facts["holes"]) == (1, 0)
    assert (facts["touch_top"], facts["touch_right"], facts["touch_bottom"], facts["touch_left"]) == (
        0,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("width", [1.0, 4.0, 12.0, 40.0])
def test_soft_band_is_the_transitions_width(width: float) -> None:
    assert matte_facts(disc(soft=width))["soft_band_px"] == pytest.approx(0.9 * width, rel=0.15)


def test_a_hard_cut_has_no_soft_band_and_a_blur_a_wide_one() -> None:
    hard = (disc() >= 0.5).astype(np.float32)
    assert matte_facts(hard)["soft_band_px"] == 0.0
    assert present(matte_facts(gaussian_filter(hard, 12))["soft_band_px"]) > 37


def test_regions_are_counted_as_scipy_counts_them() -> None:
    rng = np.random.default_rng(4)
    mask = gaussian_filter(rng.normal(0, 1, (150, 150)), 3) > 0
    alpha = mask.astype(np.float32)
    labels, _ = label(mask, structure=np.ones((3, 3)))
    assert matte_facts(alpha)["components"] == int((np.bincount(labels.ravel())[1:] >= 64).sum())
    labels, count = label(~mask)
    border = set(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    enclosed = [n for n in range(1, count + 1) if n not in border and (labels == n).sum() >= 64]
    assert matte_facts(alpha)["holes"] == len(enclosed)


def test_specks_count_from_64_px() -> None:
    alpha = disc()
    alpha[2:10, 2:10] = 1
    assert matte_facts(alpha)["components"] == 2
    alpha[9, 9] = 0
    assert matte_facts(alpha)["components"] == 1


def test_touched_borders() -> None:
    alpha = np.zeros((40, 80), np.float32)
    alpha[10:, 20:60] = 1
    facts = matte_facts(alpha)
    assert (facts["touch_top"], facts["touch_bottom"], facts["touch_left"], facts["touch_right"]) == (
        0,
        0.5,
        0,
        0,
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8)])
def test_empty_and_full(value: float, shape: tuple[int, int]) -> None:
    facts = matte_facts(np.full(shape, value, np.float32))
    assert facts["foreground"] == value
    assert facts["soft_band_px"] is None
    assert facts["holes"] == 0
    assert facts["touch_left"] == value


def test_the_real_cutout(shared: Path) -> None:
    path = shared / "data" / "anime" / "anime-girl-1.isnet-anime.png"
    alpha: Any = opencv_read(path, cv2.IMREAD_UNCHANGED)[..., 3].astype(np.float32) / 255
    facts = matte_facts(alpha)
    assert facts["components"] == 1
    assert 0.1 < present(facts["foreground"]) < 0.4
    assert facts["soft_band_px"] is not None
    assert 1 < facts["soft_band_px"] < 37
