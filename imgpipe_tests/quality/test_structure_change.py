from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.pixels.resize import area_average, resize_array
from imgpipe.quality.structure_change import lanczos_round_trip_taps, structure_change
from imgpipe_tests.quality.drawings import F32, draw


@pytest.fixture(scope="module")
def source() -> F32:
    return cv2.cvtColor(draw(2, 200, 150, 1), cv2.COLOR_RGB2GRAY).astype(np.float32)


def round_trip(plane: F32, factor: float, kernel: str = "lanczos", highest: float = 1e9) -> F32:
    height, width = (round(factor * side) for side in plane.shape)
    large = resize_array(plane[..., None], width, height, kernel)[..., 0]  # type: ignore[arg-type]
    return area_average(np.clip(large, 255 - highest, highest), plane.shape[::-1])


def change(source: F32, result: F32, factor: float = 4) -> float:
    height, width = (round(factor * side) for side in source.shape)
    value = structure_change(source, result, (width, height))
    assert value is not None
    return value


def test_the_filter_is_that_of_a_large_lanczos_enlargement() -> None:
    dot = np.zeros((21, 21), np.float32)
    dot[10, 10] = 255
    taps = lanczos_round_trip_taps()
    assert taps.sum() == pytest.approx(1.0, abs=1e-6)
    truth = round_trip(dot, 16)[7:14, 7:14]
    assert np.abs(255 * np.outer(taps, taps) - truth).max() < 0.4, truth


@pytest.mark.parametrize("factor", [2, 2.5, 4])
def test_lanczos_and_bicubic_change_little(source: F32, factor: float) -> None:
    assert change(source, round_trip(source, factor), factor) < 0.1
    assert change(source, round_trip(source, factor, "bicubic"), factor) < 0.15


def test_one_pixel_lines_and_tone_change_little() -> None:
    tone = np.where(np.indices((90, 120)).sum(axis=0) % 4 < 2, 255, 0).astype(np.float32)
    assert change(tone, round_trip(tone, 4)) < 0.15


@pytest.mark.parametrize("factor", [1.95, 2.3, 3.4])
def test_tone_enlarged_by_a_factor_that_is_not_whole_changes_little(factor: float) -> None:
    """What Lanczos leaves of it differs from pixel to pixel there: against one filter it reads 0.2."""
    tone = np.where(np.indices((90, 120)).sum(axis=0) % 4 < 2, 255, 0).astype(np.float32)
    assert change(tone, round_trip(tone, factor, highest=255), factor) < 0.1


def test_smoothing_sharpening_and_a_smaller_source_are_seen(source: F32) -> None:
    back = round_trip(source, 4)
    small = area_average(source, (160, 120))
    damaged = {
        "smaller source": cv2.resize(small, source.shape[::-1], interpolation=cv2.INTER_CUBIC),
        "sharpened": back + (back - cv2.GaussianBlur(back, (0, 0), 1.0)),
        "smoothed": cv2.medianBlur(back, 3),
    }
    values = {name: change(source, np.asarray(plane, np.float32)) for name, plane in damaged.items()}
    assert min(values.values()) > 0.25, values


def test_grain_too_weak_to_be_seen_is_no_change_of_a_smooth_picture() -> None:
    """As a JPEG of high quality leaves it: the picture has next to no detail of its own to set it against."""
    down, across = np.mgrid[0:80, 0:100].astype(np.float32)
    smooth = 128 + 60 * np.sin(across / 25) * np.cos(down / 30)
    grain = np.random.default_rng(0).normal(0, 0.3, smooth.shape).astype(np.float32)
    assert change(smooth, smooth + grain) < 0.2
    assert change(smooth, smooth + 10 * grain) > 0.6


def test_what_is_near_the_border_of_a_cutout_is_left_out(source: F32) -> None:
    interior = np.zeros(source.shape, np.uint8)
    interior[20:120, 20:150] = 1
    changed = round_trip(source, 4)
    clean = structure_change(source, changed, (800, 600), interior)
    changed[:20], changed[:, :20] = 0, 255
    assert structure_change(source, changed, (800, 600), interior) == clean
    assert structure_change(source, changed, (800, 600), np.zeros_like(interior)) is None
