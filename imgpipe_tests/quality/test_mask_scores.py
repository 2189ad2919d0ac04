from __future__ import annotations

import itertools

import numpy as np
import pytest

from imgpipe.errors import ConfigError
from imgpipe.quality.mask_scores import (
    boundary_iou,
    boundary_iou_mean,
    mask_scores,
    mean_boundary_accuracy,
    pixel_accuracy,
    weighted_f,
)


def _pair(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc, and a matte of it with a dull inside, specks and a block of half alpha in a corner."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    distance = np.hypot(ys - height * 0.45, xs - width * 0.55)
    truth = np.clip(min(height, width) * 0.3 - distance + 0.5, 0, 1)
    dull = truth * rng.uniform(0.7, 1, truth.shape)
    result = np.clip(dull + (rng.uniform(size=truth.shape) > 0.97) * 0.8 + 0.03, 0, 1)
    result[: height // 8, : width // 5] = 0.6
    return truth.astype(np.float32), result.astype(np.float32)


def _in_8_bit(alpha: np.ndarray) -> np.ndarray:
    return np.rint(alpha * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pair", "s_measure", "weighted_f_score"),
    [
        ((1, 61, 80), 0.9053096044348246, 0.7633470574541412),
        ((2, 97, 64), 0.8980278235824832, 0.7313012868314336),
        ((3, 40, 41), 0.9080957785929699, 0.8039861502071132),
    ],
)
def test_s_measure_and_weighted_f_agree_with_pysodmetrics(
    pair: tuple[int, int, int], s_measure: float, weighted_f_score: float
) -> None:
    """Values of pysodmetrics 1.6.2 (Smeasure, WeightedFmeasure, not normalised): it needs another OpenCV."""
    scores = mask_scores(*_pair(*pair))
    assert (scores["s_measure"], scores["weighted_f"]) == pytest.approx(
        (s_measure, weighted_f_score), abs=1e-12
    )


def test_a_perfect_matte_scores_one_and_an_opposite_one_nothing() -> None:
    truth = (_pair(1, 61, 80)[0] > 0.5).astype(np.float32)
    perfect = mask_scores(truth, truth)
    mean = perfect.pop("boundary_iou_mean")
    assert all(score == pytest.approx(1, abs=1e-6) for score in perfect.values()), perfect
    # At level 0 every pixel counts as boundary, so that even this mean is below 1.
    assert mean is not None
    assert 255 / 256 < mean < 1
    opposite = mask_scores(truth, 1 - truth)
    assert opposite["weighted_f"] == pytest.approx(0, abs=1e-9)
    assert (opposite["mba"], opposite["boundary_iou"], opposite["pixel_accuracy"]) == (0, 0, 0)


def test_weighted_f_by_its_closed_form_on_one_row() -> None:
    # A false pixel 2 px from the subject weighs 2 - exp(ln(0.5) / 5 * 2); the subject itself is faultless.
    subject = np.zeros((1, 30), bool)
    subject[0, :20] = True
    matte = subject.astype(np.float64)
    matte[0, 21] = 1
    precision = 20 / (20 + 2 - 0.5**0.4)
    assert weighted_f(subject, matte) == pytest.approx(2 * precision / (1 + precision), abs=1e-12)


def _inner_by_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a pixel outside it, or outside the picture, within d in both axes."""
    height, width = mask.shape
    reach = max(1, round(0.02 * (height**2 + width**2) ** 0.5))
    padded = np.pad(mask, reach)
    inner = np.zeros_like(mask)
    for y, x in itertools.product(range(height), range(width)):
        if mask[y, x]:
            inner[y, x] = not padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1].all()
    return inner


@pytest.mark.parametrize("size", [(40, 41), (70, 90)])
def test_boundary_iou_by_brute_force(size: tuple[int, int]) -> None:
    truth, result = (alpha > 0.5 for alpha in _pair(4, *size))
    result[:, -3:] = True  # a mask that the picture's border cuts
    one, other = _inner_by_distance(truth), _inner_by_distance(result)
    assert boundary_iou(truth, result) == (one & other).sum() / (one | other).sum()


def test_the_mean_boundary_iou_by_brute_force() -> None:
    truth, result = (_in_8_bit(alpha) for alpha in _pair(5, 40, 41))
    subject, reach = truth > 128, max(1, round(0.02 * np.hypot(40, 41)))
    padded = np.pad(result, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    grey, boundary = result - windows.min(axis=(2, 3)), _inner_by_distance(subject)
    ious = [(boundary & (grey >= level)).sum() / (boundary | (grey >= level)).sum() for level in range(256)]
    assert boundary_iou_mean(subject, result) == pytest.approx(np.mean(ious), abs=1e-12)


def test_mean_boundary_accuracy_of_a_shifted_half_plane() -> None:
    # 300 + 300 px: the widths are 1, 1 + int(0.2 * k) px for k < 5, that is 1 px each time; the band of a
    # straight border of width 1 has one pixel on each side, of which a shift by one gets one of two wrong.
    subject = np.zeros((300, 300), bool)
    subject[:, :150] = True
    shifted = np.roll(subject, 1, axis=1)
    shifted[:, 0] = True
    assert mean_boundary_accuracy(subject, shifted) == pytest.approx(0.5)
    # 1500 + 1500 px: widths 1, 2, 4, 6, 8 px, of whose 2 n pixels across the border one is wrong.
    subject = np.repeat(np.repeat(subject, 5, axis=0), 5, axis=1)
    shifted = np.roll(subject, 1, axis=1)
    shifted[:, 0] = True
    radii = [1 + int(9 / 5 * step) for step in range(5)]
    expected = np.mean([1 - 1 / (2 * radius) for radius in radii])
    assert mean_boundary_accuracy(subject, shifted) == pytest.approx(expected)


def test_pixel_accuracy_counts_solid_faults_beyond_ten_levels() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[10:50, 10:50] = 255
    result = truth.copy()
    result[10:50, 10:50] -= 10
    assert pixel_accuracy(truth, result) == 1
    result[20:24, 20:40] = 0  # 4 px high: no 5 x 5 of them
    assert pixel_accuracy(truth, result) == 1
    result[30:40, 20:40] = 0  # 10 x 20, of which 6 x 16 are centres of wrong squares
    assert pixel_accuracy(truth, result) == pytest.approx((1 - 96 / 1600) ** 2)
    # More wrong pixels than the subject has: the square would rise again.
    assert pixel_accuracy(truth, 255 - truth) == 0


def test_a_truth_without_a_subject_is_not_scored_by_what_it_lacks() -> None:
    empty, full = np.zeros((30, 30), np.float32), np.ones((30, 30), np.float32)
    assert mask_scores(empty, empty) == {
        "s_measure": 1.0,
        "weighted_f": None,
        "boundary_iou": None,
        "boundary_iou_mean": None,
        "mba": None,
        "pixel_accuracy": None,
    }
    assert mask_scores(empty, full)["s_measure"] == 0
    assert mask_scores(full, np.full_like(full, 0.25))["s_measure"] == pytest.approx(0.25, abs=0.002)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_mattes_are_defined(shape: tuple[int, int]) -> None:
    truth = np.zeros(shape, np.float32)
    truth[0, 0] = 1
    for score in mask_scores(truth, truth).values():
        assert score is None or 0 <= score <= 1 + 1e-9


def test_wrong_input_is_refused() -> None:
    alpha = np.zeros((4, 5), np.float32)
    with pytest.raises(ConfigError, match=r"\(4, 5\) and \(5, 4\)"):
        mask_scores(alpha, alpha.T)
