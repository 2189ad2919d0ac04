"""What the network sees under transparency."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.upscaling.network_input import ColourInput, GreyInput

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _extended(colour: Floats, alpha: Floats) -> Floats:
    pixels = (np.dstack([colour, alpha]) * 65535).astype(np.uint16)
    return ColourInput(Image(pixels))[:, :]


def _disc(size: int, radius: float) -> Floats:
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.asarray(np.clip(radius - np.hypot(x, y) + 0.5, 0, 1), np.float32)


def test_one_colour_fills_everything_whatever_lies_hidden() -> None:
    alpha = _disc(61, 20)
    colour = np.random.default_rng(0).random((61, 61, 3), dtype=np.float32)
    colour[alpha > 0] = (0.8, 0.3, 0.1)
    filled = _extended(colour, alpha)
    assert np.abs(filled - np.array([0.8, 0.3, 0.1], np.float32)).max() < 2e-5


def test_visible_colours_are_untouched() -> None:
    alpha = _disc(40, 12)
    colour = np.random.default_rng(1).random((40, 40, 3), dtype=np.float32)
    filled = _extended(colour, alpha)
    seen = alpha >= 0.125
    np.testing.assert_allclose(filled[seen], colour[seen], atol=1 / 65535)
    assert filled.min() >= 0
    assert filled.max() <= 1


def test_the_fill_continues_the_nearest_subject() -> None:
    colour = np.zeros((32, 96, 3), np.float32)
    alpha = np.zeros((32, 96), np.float32)
    colour[:, :16], alpha[:, :16] = (1, 0, 0), 1
    colour[:, 80:], alpha[:, 80:] = (0, 0, 1), 1
    filled = _extended(colour, alpha)
    assert filled[16, 18, 0] > 0.9
    assert filled[16, 77, 2] > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 4)])
def test_nothing_visible_is_black(shape: tuple[int, int]) -> None:
    filled = _extended(np.ones((*shape, 3), np.float32), np.zeros(shape, np.float32))
    np.testing.assert_array_equal(filled, 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_part_equals_that_of_the_whole(channels: int) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (61, 47, channels)).astype(np.uint8)
    picture = ColourInput(Image(levels))
    whole = picture[:, :]
    assert whole.shape == picture.shape == (61, 47, 3)
    for rows, columns in (
        (slice(0, 9), slice(3, 47)),
        (slice(13, 61), slice(0, 1)),
        (slice(20, 21), slice(5, 30)),
    ):
        np.testing.assert_array_equal(picture[rows, columns], whole[rows, columns])


def test_a_plane_is_given_as_grey() -> None:
    plane = np.array([[0, 51], [255, 102]], np.uint8)
    np.testing.assert_allclose(
        GreyInput(plane)[0:2, 0:2], np.repeat(plane[..., None] / 255, 3, axis=2), atol=1e-7
    )
