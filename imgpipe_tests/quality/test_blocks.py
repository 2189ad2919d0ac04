from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.quality.blocks import BLOCK_COLUMNS, BLOCK_ROWS, blocks

SHAPES = [(1, 1), (3, 4), (BLOCK_ROWS, BLOCK_COLUMNS), (2 * BLOCK_ROWS + 1, BLOCK_COLUMNS + 7, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inset", [0, 1])
def test_every_pixel_inside_the_inset_belongs_to_one_block(shape: tuple[int, ...], inset: int) -> None:
    owners = np.zeros(shape[:2], int)
    for block in blocks(shape, 2, inset=inset):
        owners[block.own] += 1
    expected = np.zeros_like(owners)
    expected[inset : shape[0] - inset, inset : shape[1] - inset] = 1
    assert np.array_equal(owners, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_filter_by_blocks_is_the_filter_of_the_whole(shape: tuple[int, ...]) -> None:
    plane = np.random.default_rng(1).integers(0, 99, shape).astype(np.float32)
    kernel, border = np.arange(25, dtype=np.float32).reshape(5, 5), cv2.BORDER_REPLICATE
    ours = np.full_like(plane, np.nan)
    for block in blocks(shape, 2):
        ours[block.own] = cv2.filter2D(plane[block.seen], -1, kernel, borderType=border)[block.inner]
    assert np.array_equal(ours, cv2.filter2D(plane, -1, kernel, borderType=border))
