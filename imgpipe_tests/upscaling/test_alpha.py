"""What the network sees under transparency."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.upscaling.alpha import extend_colours


def _disc(size: int, radius: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.asarray(np.clip(radius - np.hypot(x, y) + 0.5, 0, 1), np.float32)


def test_one_colour_fills_everything_whatever_lies_hidden() -> None:
    alpha = _disc(61, 20)
    colour = np.random.default_rng(0).random((61, 61, 3), dtype=np.float32)
    colour[alpha > 0] = (0.8, 0.3, 0.1)
    filled = extend_colours(colour, alpha)
    assert np.abs(filled - np.array([0.8, 0.3, 0.1], np.float32)).max() < 1e-5


def test_visible_colours_are_untouched() -> None:
    alpha = _disc(40, 12)
    colour = np.random.default_rng(1).random((40, 40, 3), dtype=np.float32)
    filled = extend_colours(colour, alpha)
    seen = alpha >= 0.125
    np.testing.assert_array_equal(filled[seen], colour[seen])
    assert filled.min() >= 0
    assert filled.max() <= 1


def test_the_fill_continues_the_nearest_subject() -> None:
    colour = np.zeros((32, 96, 3), np.float32)
    alpha = np.zeros((32, 96), np.float32)
    colour[:, :16], alpha[:, :16] = (1, 0, 0), 1
    colour[:, 80:], alpha[:, 80:] = (0, 0, 1), 1
    filled = extend_colours(colour, alpha)
    assert filled[16, 18, 0] > 0.9
    assert filled[16, 77, 2] > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 4)])
def test_nothing_visible_is_black(shape: tuple[int, int]) -> None:
    filled = extend_colours(np.ones((*shape, 3), np.float32), np.zeros(shape, np.float32))
    np.testing.assert_array_equal(filled, 0)
