"""Alpha is resized by Lanczos without its ringing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgpipe.pixels.alpha import resize_alpha
from imgpipe.pixels.resize import resize_array

UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


@pytest.mark.parametrize("scale", [1.5, 2, 4])
def test_hard_edges_do_not_ring(scale: float) -> None:
    alpha = np.zeros((40, 50), np.float32)
    alpha[10:30, 15:35] = 1
    width, height = int(50 * scale), int(40 * scale)
    result = resize_alpha(alpha, width, height, UINT8)
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
    result = resize_alpha(alpha, 160, 120, UINT16) / 65535
    expected = resize_array(alpha[..., None], 160, 120, "lanczos")[..., 0]
    inner = (slice(12, -12), slice(12, -12))
    # At a smooth peak the range of the neighbours cuts off a little of the interpolated summit.
    assert np.abs(result - expected)[inner].max() < 0.5 / 255
    assert np.abs(result - expected)[inner].mean() < 1e-5


def test_same_size_is_the_same_alpha() -> None:
    alpha: Any = np.random.default_rng(2).integers(0, 256, (9, 11)).astype(np.float32) / 255
    np.testing.assert_array_equal(resize_alpha(alpha, 11, 9, UINT8), (alpha * 255).round())
