"""Rows that are computed when they are read are those of the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.pixels.row_bands import RowBands


def numbered(height: int, band_rows: int) -> tuple[np.ndarray, RowBands, list[slice]]:
    whole = np.arange(height * 4 * 3, dtype=np.float32).reshape(height, 4, 3)
    asked: list[slice] = []

    def compute(rows: slice) -> np.ndarray:
        asked.append(rows)
        return whole[rows]

    return whole, RowBands(whole.shape, band_rows, compute), asked


@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 9), slice(0, 50), slice(48, 50), slice(7, 7)])
def test_slices_are_those_of_the_array(rows: slice) -> None:
    whole, bands, _ = numbered(50, 4)
    assert np.array_equal(bands[rows], whole[rows])
    assert np.array_equal(bands[rows, 1:3], whole[rows, 1:3])
    changed = bands.map(lambda values, part: values + part.start)
    assert np.array_equal(changed[rows], whole[rows] + (np.arange(50) // 4 * 4)[rows, None, None])


def test_a_band_is_computed_once_while_it_is_read_and_again_when_others_were() -> None:
    whole, bands, asked = numbered(400, 4)
    for top in range(12):
        assert np.array_equal(bands[top : top + 2], whole[top : top + 2])
    assert [rows.start for rows in asked] == [0, 4, 8, 12]
    assert np.array_equal(bands[:], whole)
    assert np.array_equal(bands[0:1], whole[0:1])
    assert [rows.start for rows in asked].count(0) == 2
