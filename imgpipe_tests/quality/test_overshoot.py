from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize
from imgpipe.quality.overshoot import overshoot

U8 = npt.NDArray[np.uint8]


def bar() -> U8:
    plane = np.full((64, 64), 180, np.uint8)
    plane[:, 24:40] = 80
    return plane


def enlarged(plane: U8, factor: float = 4) -> U8:
    """By area: the same values, larger."""
    height, width = (round(side * factor) for side in plane.shape)
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def sharpened(plane: U8, amount: float) -> U8:
    soft = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 2.0)
    return np.asarray(np.clip(plane + amount * (plane - soft), 0, 255), np.uint8)


@pytest.mark.parametrize("factor", [2, 2.5, 4])
def test_a_halo_on_both_sides_counts(factor: float) -> None:
    sharp = enlarged(bar(), factor)
    left, right = (round(side * factor) for side in (24, 40))
    sharp[:, [left - 1, right]] += 40
    sharp[:, [left, right - 1]] -= 40
    # 8 columns lie at an edge: two of them are brighter and two darker.
    assert overshoot(bar(), sharp) == 2 / 8


def test_a_halo_of_one_pixel_of_the_result_is_seen() -> None:
    assert overshoot(bar(), sharpened(enlarged(bar()), 1.5)) == 2 / 8


def test_a_darker_line_alone_does_not_count() -> None:
    darker = bar()
    darker[:, 24:40] = 40
    assert overshoot(bar(), enlarged(darker)) == 0.0


def test_a_darker_and_a_brighter_line_apart_do_not_count() -> None:
    source = np.vstack([bar(), 255 - bar()])
    redrawn = source.copy()
    redrawn[:64, 24:40], redrawn[64:, 24:40] = 30, 225
    assert (overshoot(source, enlarged(redrawn)) or 0) < 0.05


def test_what_lanczos_rings_does_not_count() -> None:
    source = Image(np.repeat(bar()[..., None], 3, axis=2))
    result = np.asarray(resize(source, 256, 256, "lanczos").pixels[..., 0], np.uint8)
    assert overshoot(bar(), result) == 0.0


def test_stripes_that_are_drawn_stronger_do_not_count() -> None:
    stripes = np.full((64, 64), 120, np.uint8)
    stripes[:, 10:50:3] = 160
    stronger = np.where(stripes == 160, 200, 80).astype(np.uint8)
    stronger[:, :8] = stronger[:, 52:] = 120
    with_an_edge = [np.vstack([bar(), plane]) for plane in (stripes, stronger)]
    assert overshoot(with_an_edge[0], enlarged(with_an_edge[1])) == pytest.approx(0.0, abs=0.02)


def test_without_edges_it_is_not_measured() -> None:
    assert overshoot(np.zeros((40, 40), np.uint8), np.ones((160, 160), np.uint8)) is None
