import cv2
import numpy as np
import pytest

from imgpipe.matting.border import fit_border, to_lab


def test_lab_is_cie() -> None:
    from skimage.color import rgb2lab

    colour = np.random.default_rng(0).integers(0, 65536, (12, 13, 3)).astype(np.uint16)
    np.testing.assert_allclose(to_lab(colour), rgb2lab(colour / 65535), atol=0.5)


@pytest.mark.parametrize("kind", ["flat", "linear", "vignette"])
def test_smooth_backgrounds_are_explained_with_a_figure_at_the_bottom(kind: str) -> None:
    height, width = 120, 160
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    level = {"flat": 0 * xs, "linear": 20 * ys + 5 * xs, "vignette": -15 * (xs**2 + ys**2)}[kind]
    lab = np.dstack([70 + level, 5 + level / 4, 0 * xs]).astype(np.float32)
    lab[50:, 50:105] = (30, 40, 40)
    border = fit_border(lab)
    distance = border.distance(lab)
    background = np.ones((height, width), bool)
    background[50:, 50:105] = False
    assert distance[background].max() < 1.0, f"max {distance[background].max():.2f}"
    assert distance[~background].min() > 20
    assert border.noise == 1.0
    assert border.explained == pytest.approx(1 - 55 / 560, abs=0.03)


def test_a_ground_line_is_a_second_background_colour() -> None:
    lab = np.full((120, 160, 3), (80, 0, 0), np.float32)
    lab[85:] = (40, 20, 30)
    cv2.circle(lab, (80, 70), 25, (60, 60, -50), -1)
    border = fit_border(lab)
    distance = border.distance(lab)
    assert len(border.extra) == 1
    assert border.explained > 0.99
    assert distance[5, 5] < 1
    assert distance[115, 80] < 1
    assert distance[70, 80] > 20


def test_noise_is_measured_robustly() -> None:
    rng = np.random.default_rng(0)
    lab = (np.array([70, 0, 0]) + rng.normal(0, 2, (100, 100, 3))).astype(np.float32)
    lab[60:, 30:60] = (20, 50, 0)
    # The median length of a 3-vector of standard normals is 1.538.
    assert fit_border(lab).noise == pytest.approx(1.4826 * 1.538 * 2, rel=0.15)


def test_a_busy_border_is_not_explained() -> None:
    rng = np.random.default_rng(0)
    patches = rng.uniform(-60, 60, (12, 12, 3)) + np.array([50, 0, 0])
    lab = cv2.resize(patches.astype(np.float32), (240, 240), interpolation=cv2.INTER_NEAREST)
    assert fit_border(lab).explained < 0.4


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (8, 8)])
def test_tiny_pictures_are_defined(shape: tuple[int, int]) -> None:
    lab = np.full((*shape, 3), (50, 10, -10), np.float32)
    assert fit_border(lab).distance(lab).max() < 0.01


def test_a_figure_on_most_of_two_sides_is_not_taken_for_background() -> None:
    ys = np.linspace(-1, 1, 120)[:, None] * np.ones((1, 160))
    lab = np.dstack([75 + 12 * ys, 0 * ys, -20 + 8 * ys]).astype(np.float32)
    figure = np.zeros((120, 160), bool)
    figure[70:, :150] = figure[25:, :30] = True
    lab[figure] = np.random.default_rng(0).uniform((10, 10, 0), (60, 60, 50), (int(figure.sum()), 3))
    distance = fit_border(lab).distance(lab)
    assert np.quantile(distance[~figure], 0.99) < 2, f"max {distance[~figure].max():.1f}"
    assert np.median(distance[figure]) > 20
