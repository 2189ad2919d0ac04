"""One rounding, at the end, in the wanted depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgpipe.pixels.resize import resize_array
from imgpipe.upscaling.finish import finish


@pytest.fixture
def native() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_native_size_is_only_rounded(native: Any, dtype: Any) -> None:
    full = np.iinfo(dtype).max
    result = finish(native, 64, 48, np.dtype(dtype), None)
    np.testing.assert_array_equal(result, np.floor(native / 65535 * full + 0.5))


@pytest.mark.parametrize("size", [(32, 24), (48, 36), (100, 80)])
def test_other_sizes_are_lanczos(native: Any, size: tuple[int, int]) -> None:
    smooth = np.linspace(0, 60000, 64)[None, :, None] + np.zeros((48, 1, 3)) + native % 2000
    result = finish(smooth.astype(np.uint16), *size, np.dtype(np.uint16), None)
    expected = np.clip(resize_array(smooth.astype(np.float32), *size, "lanczos"), 0, 65535)
    assert np.abs(result - expected).max() <= 2


def test_the_correction_is_added_before_rounding_and_clipped(native: Any) -> None:
    correction = np.full((12, 16, 3), 0.25, np.float32)
    result = finish(native, 64, 48, np.dtype(np.uint8), correction)
    expected = np.clip(np.floor((native / 65535 + 0.25) * 255 + 0.5), 0, 255)
    assert np.abs(result - expected).max() <= 1
    assert (result == expected).mean() > 0.999
    assert result.max() == 255
