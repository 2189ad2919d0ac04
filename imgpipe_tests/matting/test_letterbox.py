import numpy as np
import pytest

from imgpipe.matting.letterbox import Placement, resize


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 200, (16, 0, 32, 64)),
        (200, 100, (0, 16, 64, 32)),
        (64, 64, (0, 0, 64, 64)),
        (60000, 1, (0, 31, 64, 1)),
        (1, 1, (0, 0, 64, 64)),
        (601, 850, (9, 0, 45, 64)),
    ],
)
def test_placement_is_the_authors(height: int, width: int, expected: tuple[int, ...]) -> None:
    placement = Placement.letterbox(height, width, (64, 64))
    assert (placement.top, placement.left, placement.inner_height, placement.inner_width) == expected


def test_put_pads_with_zeros_and_keeps_constants() -> None:
    square = Placement.letterbox(30, 90, (60, 60)).put(np.full((30, 90, 3), 0.7, np.float32))
    assert square.shape == (60, 60, 3)
    np.testing.assert_array_equal(square[:20], 0)
    np.testing.assert_array_equal(square[40:], 0)
    np.testing.assert_allclose(square[20:40], 0.7, atol=1e-6)


def test_a_linear_ramp_goes_through_and_back() -> None:
    height, width = 50, 100
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = 0.1 + 0.003 * xs + 0.005 * ys
    placement = Placement.letterbox(height, width, (80, 80))
    square = placement.put(ramp[..., None])
    # Pixel centres: source x = (x' + 1/2) * 100/80 - 1/2, and bilinear interpolation is exact on planes.
    expected_x = (np.arange(80) + 0.5) * 1.25 - 0.5
    expected_y = (np.arange(40) + 0.5) * 1.25 - 0.5
    expected = 0.1 + 0.003 * expected_x[None, :] + 0.005 * expected_y[:, None]
    np.testing.assert_allclose(square[20:60, :, 0], expected, atol=1e-5)
    back = placement.take(square[..., 0])
    assert back.shape == (height, width)
    np.testing.assert_allclose(back[2:-2, 2:-2], ramp[2:-2, 2:-2], atol=1e-5)


def test_squash_fills_the_square() -> None:
    placement = Placement.squash(30, 90, (60, 60))
    assert placement.put(np.ones((30, 90, 3), np.float32)).min() == 1
    assert placement.take(np.ones((60, 60), np.float32)).shape == (30, 90)


def test_strong_reduction_averages_instead_of_skipping() -> None:
    stripes = np.tile(np.array([1, 0, 0, 0], np.float32), (64, 64))
    np.testing.assert_allclose(resize(stripes, 16, 64), 0.25, atol=1e-6)
