from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.pixels.bilinear import enlarged_rows


@pytest.mark.parametrize("size", [(320, 240), (123, 77), (80, 60), (40, 30)])
def test_rows_equal_the_whole_enlargement(size: tuple[int, int]) -> None:
    source = np.random.default_rng(0).random((60, 80, 3), dtype=np.float32)
    width, height = size
    whole = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
    parts = [
        enlarged_rows(source, width, height, slice(y, min(height, y + 13))) for y in range(0, height, 13)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
