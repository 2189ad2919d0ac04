"""How far known filters reach."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.upscaling.context_probe import measure
from imgpipe.upscaling.network import UNBOUNDED_HALO_PX, Floats


@pytest.mark.parametrize(("scale", "radius"), [(1, 0), (2, 1), (4, 5), (3, 20), (2, 40)])
def test_a_box_filter_reaches_its_radius(scale: int, radius: int) -> None:
    def enlarge(window: Floats) -> Floats:
        blurred = cv2.blur(window.astype(np.float64), (2 * radius + 1, 2 * radius + 1))
        result = np.repeat(np.repeat(blurred.round(9), scale, 0), scale, 1)
        return result.astype(np.float32)

    field = measure(enlarge, scale)
    assert (field.radius_px, field.source) == (radius, "measured")


def test_what_depends_on_the_whole_is_unbounded() -> None:
    field = measure(lambda window: window - window.mean(), 1)
    assert (field.radius_px, field.exact) == (UNBOUNDED_HALO_PX, False)


def test_a_grid_from_the_corner_is_unbounded() -> None:
    def in_blocks(window: Floats) -> Floats:
        result = window.copy()
        for start in range(0, window.shape[1], 8):
            result[:, start : start + 8] = window[:, start : start + 8].mean(axis=1, keepdims=True)
        return result

    assert not measure(in_blocks, 1).exact
