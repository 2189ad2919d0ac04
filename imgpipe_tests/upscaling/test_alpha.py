"""What the network sees under transparency, and alpha's own enlargement."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.resize import resize_array
from imgpipe.upscaling.alpha import enlarge_alpha, extend_colours

UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


def _disc(size: int, radius: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def test_one_colour_fills_everything_whatever_lies_hidden() -> None:
    alpha = _disc(61, 20)
    colour = np.random.default_rng(0).random((61, 61, 3), dtype=np.float32)
    colour[alpha > 0] = (0.8, 0.3, 0.1)
    filled = extend_colours(colour, alpha)
    assert np.abs(filled - np.float32([0.8, 0.3, 0.1])).max() < 1e-5


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


@pytest.mark.parametrize("scale", [1.5, 2, 4])
def test_hard_edges_do_not_ring(scale: float) -> None:
    alpha = np.zeros((40, 50), np.float32)
    alpha[10:30, 15:35] = 1
    width, height = int(50 * scale), int(40 * scale)
    result = enlarge_alpha(alpha, width, height, UINT8)
    y, x = (np.arange(height) + 0.5) / scale, (np.arange(width) + 0.5) / scale
    outside = ((y < 9) | (y > 31))[:, None] | ((x < 14) | (x > 36))[None]
    inside = ((y > 11) & (y < 29))[:, None] & ((x > 16) & (x < 34))[None]
    assert result[outside].max() == 0
    assert result[inside].min() == 255
    ringing = resize_array(alpha[..., None], width, height, "lanczos")[..., 0]
    assert ringing[outside].max() > 0.01, "plain Lanczos rings here, or this test proves nothing"


def test_smooth_alpha_is_lanczos() -> None:
    y, x = np.mgrid[0:30, 0:40]
    alpha = (0.5 + 0.3 * np.sin(x / 6) * np.cos(y / 5)).astype(np.float32)
    result = enlarge_alpha(alpha, 160, 120, UINT16) / 65535
    expected = resize_array(alpha[..., None], 160, 120, "lanczos")[..., 0]
    inner = (slice(12, -12), slice(12, -12))
    # At a smooth peak the range of the neighbours cuts off a little of the interpolated summit.
    assert np.abs(result - expected)[inner].max() < 0.5 / 255
    assert np.abs(result - expected)[inner].mean() < 1e-5


def test_same_size_is_the_same_alpha() -> None:
    alpha = np.random.default_rng(2).integers(0, 256, (9, 11)).astype(np.float32) / 255
    np.testing.assert_array_equal(enlarge_alpha(alpha, 11, 9, UINT8), (alpha * 255).round())
