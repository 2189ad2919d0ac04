from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from imgpipe.errors import ConfigError
from imgpipe.quality.matte_error import (
    GRADIENT_SIGMA_PX,
    connectivity_error,
    gradient_error,
    matte_errors,
)

_SLOPE_GAIN = GRADIENT_SIGMA_PX**2 * np.sqrt(8 * np.pi)


def _disc(radius: float, side: int = 96, at: tuple[float, float] = (47.5, 47.5)) -> np.ndarray:
    ys, xs = np.mgrid[:side, :side]
    distance = np.hypot(ys - at[0], xs - at[1])
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)


def _everywhere(alpha: np.ndarray) -> np.ndarray:
    return np.ones(alpha.shape, bool)


def test_identical_mattes_have_no_error() -> None:
    alpha = _disc(30)
    assert matte_errors(alpha, alpha.copy()).as_dict() == {
        "sad": 0.0,
        "mse": 0.0,
        "grad": 0.0,
        "conn": 0.0,
        "iou": 1.0,
        "boundary_mae": 0.0,
        "boundary_mae_px": 0.0,
    }


def test_sad_and_mse_have_their_closed_forms() -> None:
    truth = np.zeros((50, 40), np.float32)
    errors = matte_errors(truth, np.full_like(truth, 0.25))
    assert errors.sad == pytest.approx(2000 * 0.25 / 1000)
    assert errors.mse == pytest.approx(0.25**2 * 1000)


def test_a_trimap_counts_its_unknown_pixels_only() -> None:
    truth = np.zeros((20, 20), np.float32)
    result = np.full_like(truth, 0.5)
    trimap = np.zeros((20, 20), np.uint8)
    trimap[:4], trimap[4:8] = 128, 255
    errors = matte_errors(truth, result, trimap=trimap)
    assert (errors.sad, errors.mse) == pytest.approx((80 * 0.5 / 1000, 250))
    none = matte_errors(truth, result, trimap=np.zeros((20, 20), np.uint8))
    assert (none.sad, none.mse, none.grad, none.conn) == (0, 0, 0, 0)


def test_the_gradient_agrees_with_scipys_gaussian_derivatives() -> None:
    truth, result = _disc(30), _disc(27, at=(45, 49))

    def magnitude(alpha: np.ndarray) -> np.ndarray:
        wide = {"sigma": GRADIENT_SIGMA_PX, "mode": "nearest", "truncate": 8.0}
        across = gaussian_filter(alpha.astype(np.float64), order=(0, 1), **wide)
        down = gaussian_filter(alpha.astype(np.float64), order=(1, 0), **wide)
        # scipy's derivative answers a slope with itself.
        return np.hypot(across, down) * _SLOPE_GAIN

    expected = np.square(magnitude(truth) - magnitude(result)).sum() / 1000
    assert gradient_error(truth, result, _everywhere(truth)) == pytest.approx(expected, rel=0.02)


def test_a_hand_worked_connectivity() -> None:
    # The source is the left block. The strand is present in the truth; in the result its pixel 5 is missing,
    # so that pixels 6 and 7 float free: their level is 0, d = 1, phi = 0 in both. At pixel 5 the truth
    # counts d = 1 (phi 0) and the result none (phi 1). At pixel 8 truth 0.1 is below the threshold.
    truth = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0.1]], np.float32)
    result = np.array([[1, 1, 1, 1, 1, 0, 1, 1, 0.0]], np.float32)
    assert connectivity_error(truth, result, _everywhere(truth)) * 1000 == pytest.approx(1)
    # A partial value counts above the level at which it hangs on: 0.6 at both, so d is 0.4 against 0.
    result = np.array([[1, 1, 1, 1, 1, 0.6, 0.6, 0.6, 0.1]], np.float32)
    assert connectivity_error(truth, result, _everywhere(truth)) * 1000 == pytest.approx(3 * 0.4, rel=1e-6)
    # A difference below 0.15 does not count as a loss of connection.
    result = np.array([[1, 1, 1, 1, 1, 0.9, 0.9, 0.9, 0.1]], np.float32)
    assert connectivity_error(truth, result, _everywhere(truth)) == 0


def test_connectivity_is_by_four_neighbours() -> None:
    # The lone pixel touches the source by a corner: it floats free in both, its loss counts in full.
    truth = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0.8]], np.float32)
    result = truth.copy()
    result[2, 2] = 0.3
    # Level 0 for both: d is 0.8 and 0.3.
    assert connectivity_error(truth, result, _everywhere(truth)) * 1000 == pytest.approx(0.5)


def test_a_floating_blob_costs_its_area() -> None:
    truth = _disc(30)
    result = truth.copy()
    result[2:6, 2:7] = 1
    errors = matte_errors(truth, result)
    assert errors.conn * 1000 == pytest.approx(20)
    assert errors.sad * 1000 == pytest.approx(20)


@pytest.mark.parametrize("shift", [0.3, 1.0, 2.5])
def test_a_shifted_edge_is_off_by_its_shift(shift: float) -> None:
    xs = np.arange(64, dtype=np.float32)
    truth, result = (
        np.broadcast_to(np.clip((xs - at) / 4, 0, 1), (48, 64)).astype(np.float32)
        for at in (30.25, 30.25 + shift)
    )
    errors = matte_errors(truth, result)
    assert errors.boundary_mae_px == pytest.approx(shift, abs=1e-4)
    assert errors.sad * 1000 == pytest.approx(48 * shift, rel=1e-4)


def test_the_overlap_is_the_ratio_of_areas() -> None:
    truth = np.zeros((20, 20), np.float32)
    truth[5:15, 5:15] = 1
    result = truth.copy()
    result[5:10] = 0
    assert matte_errors(truth, result).iou == 0.5


def test_the_boundary_band_sees_what_happens_there_only() -> None:
    truth = _disc(30)
    far = truth.copy()
    far[:5, :5] = 1
    assert matte_errors(truth, far).boundary_mae == 0
    soft = cv2.GaussianBlur(truth, (0, 0), 2)
    softer = cv2.GaussianBlur(truth, (0, 0), 3)
    near, worse = (
        matte_errors(truth, np.asarray(alpha, np.float32)).boundary_mae for alpha in (soft, softer)
    )
    assert near is not None
    assert worse is not None
    assert 0 < near < worse


def test_mattes_without_a_contour_are_defined() -> None:
    empty, disc = np.zeros((96, 96), np.float32), _disc(20)
    both = matte_errors(empty, empty)
    assert (both.iou, both.boundary_mae, both.boundary_mae_px, both.conn) == (1, None, 0, 0)
    one = matte_errors(disc, empty)
    assert (one.iou, one.boundary_mae_px) == (0, None)
    assert one.sad == pytest.approx(disc.sum() / 1000, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_mattes_are_defined(shape: tuple[int, int]) -> None:
    errors = matte_errors(np.ones(shape, np.float32), np.zeros(shape, np.float32))
    assert errors.sad * 1000 == shape[0] * shape[1]
    assert errors.mse == 1000


def test_wrong_input_is_refused() -> None:
    alpha = np.zeros((4, 5), np.float32)
    with pytest.raises(ConfigError, match=r"\(4, 5\) and \(5, 4\)"):
        matte_errors(alpha, alpha.T)
    with pytest.raises(ConfigError, match="trimap"):
        matte_errors(alpha, alpha, trimap=np.zeros((5, 4), np.uint8))
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        matte_errors(alpha, np.full_like(alpha, 255))
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        matte_errors(alpha, np.full_like(alpha, np.nan))
