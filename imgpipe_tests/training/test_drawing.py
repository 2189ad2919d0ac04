import numpy as np
import pytest

from training.brush import Canvas, spline
from training.drawing import STYLES, draw


@pytest.mark.parametrize("style", STYLES)
def test_one_seed_gives_one_picture(style: str) -> None:
    first, again, other = draw(5, 64, style), draw(5, 64, style), draw(6, 64, style)
    assert first.shape == (64, 64, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_spline_runs_through_its_points() -> None:
    points = np.array([[0.0, 0], [3, 1], [4, 5], [9, 2]])
    curve = spline(points, steps=6)
    assert np.linalg.norm(curve[:, None] - points, axis=2).min(axis=0).max() < 1e-12


def test_what_is_painted_in_a_clip_stays_in_it() -> None:
    canvas = Canvas(16)
    square = np.array([[4.0, 4], [12, 4], [12, 12], [4, 12]])
    with canvas.clipped(square):
        canvas.pixels[:] = 200
    reduced = canvas.reduced()
    assert (reduced[6:10, 6:10] == 200).all()
    assert not reduced[:3].any()
    assert not reduced[:, 13:].any()
