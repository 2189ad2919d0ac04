from __future__ import annotations

import numpy as np
import pytest

from imgpipe.pixels.row_window import RowWindow


def test_rows_are_those_of_the_whole() -> None:
    whole = np.arange(50 * 3).reshape(50, 3)
    window = RowWindow(whole.shape)
    come = 0
    for count in (7, 1, 20, 2, 20):
        window.append(whole[come : come + count].copy())
        come += count
        assert (window.start, window.stop) == (max(0, come - count - 4), come)
        for start in range(window.start, come):
            np.testing.assert_array_equal(window[start:come], whole[start:come])
        window.drop(come - 4)


def test_what_is_gone_or_has_not_come_is_refused() -> None:
    window = RowWindow((10, 2))
    window.append(np.zeros((6, 2)))
    window.drop(3)
    for rows in (slice(2, 5), slice(4, 7)):
        with pytest.raises(IndexError, match="expected rows within 3"):
            window[rows]


def test_the_rest_of_a_large_block_does_not_keep_it() -> None:
    block = np.zeros((100, 4))
    window = RowWindow(block.shape)
    window.append(block)
    window.drop(50)
    assert np.shares_memory(window[50:100], block)
    window.drop(80)
    assert not np.shares_memory(window[80:100], block)
