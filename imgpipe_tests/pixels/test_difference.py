from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.difference import difference, max_pool
from imgpipe_tests.quality.drawings import draw, image
from imgpipe_tests.report.datasets import cutout, drawing


def test_difference_is_the_largest_channels_over_the_round_trip() -> None:
    reference = draw(1, 40, 30, 1)
    result = np.repeat(np.repeat(reference, 4, 0), 4, 1).astype(np.int16)
    result[40:44, 80:84, 1] += np.where(result[40:44, 80:84, 1] > 127, -20, 20)
    values = difference(image(reference), image(result.astype(np.uint8)))
    assert values.shape == (30, 40)
    assert values[10, 20] == pytest.approx(20, abs=1e-3)
    values[10, 20] = 0
    assert values.max() < 1e-3


def test_alpha_is_seen_on_either_background() -> None:
    black = np.zeros((20, 30, 4), np.uint8)
    black[..., 3] = 255
    lost = black.copy()
    lost[5:10, :, 3] = 0
    values = difference(Image(black), Image(lost))
    assert values[7, 3] == 255
    assert values[0, 0] == 0


def test_equal_pictures_do_not_differ_and_a_seam_does() -> None:
    picture = drawing(5)
    result = np.repeat(np.repeat(picture, 4, axis=0), 4, axis=1)
    assert difference(Image(picture), Image(result)).max() == 0
    result[:, 200:204] = np.clip(result[:, 200:204].astype(int) + 8, 0, 255)
    levels = difference(Image(picture), Image(result))
    assert levels[:, 50].max() == 8
    assert np.delete(levels, 50, axis=1).max() == 0


def test_a_changed_alpha_is_a_difference_and_a_removed_background_is_none() -> None:
    picture = drawing(5)
    matted = cutout(picture)
    assert difference(Image(picture), Image(matted)).max() <= 1
    harder = matted.copy()
    harder[40:50, 40:50, 3] = 0
    colour = picture[45, 45].astype(int)
    expected = max(colour.max(), 255 - colour.min())
    assert difference(Image(matted), Image(harder))[45, 45] == expected


def test_max_pooling_keeps_a_line_that_averaging_hides() -> None:
    levels = np.zeros((2000, 1500), np.float32)
    levels[:, 777] = 2
    pooled = max_pool(levels, (240, 320))
    assert (pooled.max(axis=1) == 2).all()
    assert cv2.resize(levels.astype(np.uint8), (240, 320), interpolation=cv2.INTER_AREA).max() == 0


@pytest.mark.parametrize("shape", [(10, 10), (97, 331), (5, 640)])
def test_max_pooling_equals_the_definition(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    size = (min(7, shape[1]), min(5, shape[0]))
    pooled = max_pool(values, size)
    for row in range(size[1]):
        for column in range(size[0]):
            top, bottom = row * shape[0] // size[1], (row + 1) * shape[0] // size[1]
            left, right = column * shape[1] // size[0], (column + 1) * shape[1] // size[0]
            assert pooled[row, column] == values[top:bottom, left:right].max()


def test_max_pooling_cannot_enlarge() -> None:
    with pytest.raises(ValueError, match="cannot enlarge"):
        max_pool(np.zeros((4, 4), np.uint8), (5, 4))
