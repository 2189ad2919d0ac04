from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from imgpipe.quality.ssim import crop_to_centres, ssim, ssim_map
from imgpipe_tests.opencv_files import opencv_read, present
from imgpipe_tests.quality.defects import DEFECTS, plant
from imgpipe_tests.quality.drawings import area, draw, enlarge

MAP_TOLERANCE, MEAN_TOLERANCE = 1e-4, 1e-5


def truth(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean and map of scikit-image in float64, the authors' setting; the map with its border cut."""
    mean, full = structural_similarity(
        a.astype(np.float64),
        b.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
        channel_axis=2 if a.ndim == 3 else None,
    )
    cropped = full[5:-5, 5:-5]
    return float(mean), cropped.mean(axis=2) if a.ndim == 3 else cropped


def assert_equals_truth(a: np.ndarray, b: np.ndarray) -> None:
    mean, full = truth(a, b)
    ours = ssim_map(a, b)
    error = np.abs(ours - full)
    where = np.unravel_index(int(error.argmax()), error.shape)
    assert error.max() < MAP_TOLERANCE, f"largest error {error.max():.2e} at {where}, mean {error.mean():.2e}"
    assert ssim(a, b) == pytest.approx(mean, abs=MEAN_TOLERANCE)


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_equals_scikit_image_on_damaged_drawings(name: str) -> None:
    picture = draw(5, 64, 48)
    assert_equals_truth(picture, present(plant(name, picture)))


SHAPES = [(11, 11), (11, 300, 3), (12, 13, 1), (74, 40), (75, 1560), (138, 40), (139, 530, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scikit_image_at_every_block_size(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    a = rng.uniform(0, 255, shape).astype(np.float32)
    b = np.clip(a + rng.normal(0, 20, shape), 0, 255).astype(np.float32)
    assert_equals_truth(a, b)


def test_equals_scikit_image_on_bright_flat_pictures() -> None:
    """Where the textbook form loses its digits: large means, tiny variances."""
    rng = np.random.default_rng(9)
    a = (250 + rng.normal(0, 0.5, (60, 60))).astype(np.float32)
    b = (a + rng.normal(0, 0.3, a.shape)).astype(np.float32)
    assert_equals_truth(a, b)


def test_equals_scikit_image_on_real_pairs(shared: Path) -> None:
    for path in sorted((shared / "data" / "anime").glob("frame-*.png")):
        picture = opencv_read(path)[:240, :320]
        assert_equals_truth(picture, enlarge(area(picture, 2), 2))


def test_equal_pictures_have_one_and_it_is_symmetric() -> None:
    a, b = draw(1, 40, 30, 1), draw(2, 40, 30, 1)
    assert ssim(a, a.copy()) == 1.0
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-6)
    assert ssim_map(a, b).max() <= 1.0


def test_weight_selects_centres() -> None:
    a = draw(3, 60, 40, 1)
    b = present(plant("blurred_patch", a))
    weight = np.zeros(a.shape[:2], np.float32)
    weight[:, 40:] = 1
    expected = ssim_map(a, b)[crop_to_centres(weight) > 0].mean()
    assert ssim(a, b, weight) == pytest.approx(float(expected), abs=1e-6)
    assert ssim(a, b, np.zeros_like(weight)) is None


def test_threads_change_nothing() -> None:
    a, b = (np.ascontiguousarray(draw(seed, 200, 150, 1)) for seed in (1, 2))
    threads, found = cv2.getNumThreads(), []
    try:
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            found.append((ssim(a, b), ssim_map(a, b).tobytes()))
    finally:
        cv2.setNumThreads(threads)
    assert found[0] == found[1] == found[2]


def test_below_the_window_is_refused() -> None:
    small = np.zeros((10, 40), np.uint8)
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(small, small)
