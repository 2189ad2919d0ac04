"""Strips equal Pillow's whole-picture result."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.pixels.axis_filter import AxisFilter, Convolution
from imgpipe.pixels.resize import resize_array


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((64, 48), (32, 24)),
        ((64, 48), (48, 36)),
        ((40, 28), (61, 99)),
        ((9, 300), (5, 113)),
        ((4, 4), (1, 1)),
    ],
)
def test_equals_pillow(source: tuple[int, int], target: tuple[int, int], kernel: Convolution) -> None:
    picture = np.random.default_rng(1).random((source[1], source[0], 3), dtype=np.float32)
    horizontal, vertical = (AxisFilter(*lengths, kernel) for lengths in zip(source, target, strict=True))
    strips = []
    for start in range(0, target[1], 7):
        rows = slice(start, min(target[1], start + 7))
        strips.append(horizontal.along_columns(vertical.along_rows(picture[vertical.needs(rows)], rows)))
    expected = resize_array(picture, *target, kernel)
    difference = np.abs(np.concatenate(strips) - expected)
    assert difference.max() < 2e-6, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_constants_stay_constant() -> None:
    column = np.full((37, 1, 1), 0.3, np.float32)
    axis = AxisFilter(37, 101)
    result = axis.along_rows(column[axis.needs(slice(0, 101))], slice(0, 101))
    np.testing.assert_allclose(result, 0.3, atol=1e-6)
