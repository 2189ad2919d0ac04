"""The correction takes a smooth shift away, leaves detail alone, and does not listen to hidden colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.upscaling.color_match import color_correction, low_frequency_difference


@pytest.fixture
def source() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((60, 80, 3), dtype=np.float32)


def test_a_constant_shift_is_found_exactly(source: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    shift = np.array([0.02, -0.01, 0.005], np.float32)
    np.testing.assert_allclose(
        low_frequency_difference(source, source + shift), np.broadcast_to(-shift, source.shape), atol=1e-6
    )


def test_the_second_step_makes_up_for_clipping(
    source: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    """Half of the picture is white already: only the other half can be made brighter."""
    source[:, ::2] = 1.0
    round_trip = source.copy()
    round_trip[:, 1::2] -= np.float32(0.04)

    def left(correction: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
        return float(np.abs(low_frequency_difference(source, np.clip(round_trip + correction, 0, 1))).mean())

    once = left(low_frequency_difference(source, round_trip))
    assert left(color_correction(source, round_trip)) < 0.7 * once


def test_fine_detail_is_left_alone(source: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    checks = (np.indices(source.shape[:2]).sum(axis=0) % 2 * 0.2 - 0.1).astype(np.float32)[..., None]
    assert np.abs(low_frequency_difference(source, source + checks)).max() < 5e-4


@pytest.mark.parametrize("size", [(60, 80), (61, 80), (2, 2), (34, 7)])
def test_it_is_a_gaussian_blur(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).random((*size, 3), np.float32)
    difference = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.float32).reshape(noise.shape)
    got = low_frequency_difference(difference, np.zeros_like(difference))
    expected = cv2.GaussianBlur(difference, (0, 0), 8.0, borderType=cv2.BORDER_REFLECT)
    assert np.abs(got - expected).max() < 0.002 * np.ptp(difference)


def test_hidden_colours_have_no_say(source: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    alpha = np.zeros(source.shape[:2], np.float32)
    alpha[:, :40] = 1.0
    round_trip = source + np.float32(0.03)
    round_trip[:, 40:] += 0.5
    visible = low_frequency_difference(source, round_trip, alpha)[:, :40]
    np.testing.assert_allclose(visible, -0.03, atol=1e-5)
