"""An enlargement by 2 and the 3x3 convolution after it, in bf16 by the CPU's matrix unit.

In a picture enlarged by nearest neighbour, a 3x3 filter covers only 2x2 different pixels. So an enlargement
and its convolution are four 2x2 filters, one for each parity of row and column, whose weights are sums of
the 3x3's: 4/9 of the products, and the enlarged input is never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imgpipe.upscaling.cpu import tiles
from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.layers import SPARE, Bfloats, Floats, packed_filter
from imgpipe.upscaling.cpu.tiles import BLOCK_OUTPUTS, BLOCK_PX, SUMS, TILE
from imgpipe.upscaling.cpu.vectors import activate

_C = CHANNELS
#: Values of a packed 2x2 filter for 32 outputs, and of all filters for rows of one parity.
_FILTER_VALUES = 2 * 2 * 2 * 2 * TILE
PARITY_VALUES = 4 * _FILTER_VALUES


def packed_by_parity(weight: Floats) -> Bfloats:
    """``weight`` (64, 64, 3, 3) as 2x2 filters for :func:`enlarge_row`: (2 * PARITY_VALUES,).

    Order: parity of row, parity of column, then as in :func:`packed_filter`.
    """
    parts = []
    for rows in _sums(weight, 2):
        for four in _sums(rows, 3):
            whole = np.pad(four, ((0, 0), (0, 0), (0, 1), (0, 1)))
            parts.append(packed_filter(whole).reshape(2, 3, 3, -1)[:, :2, :2].ravel())
    packed: Bfloats = np.concatenate(parts)
    return packed


def _sums(weight: Floats, axis: int) -> tuple[Floats, Floats]:
    """The three weights of an axis as the two of an even pixel, and the two of an odd one."""
    first, middle, last = np.split(weight, 3, axis)
    return np.concatenate([first, middle + last], axis), np.concatenate([first + middle, last], axis)


@compiled
def enlarge_row(
    kept: Any,
    above: Any,
    below: Any,
    target: Any,
    filters: Any,
    first_filter: Any,
    bias: Any,
    slope: Any,
    width: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """A row of 2 * ``width`` pixels at ``target`` from those of ``width`` at ``above`` and ``below``.

    With leaky ReLU, as bf16 values in ``kept``, the last 2 * SPARE of which are overwritten before the first
    block is finished. ``first_filter``: 0 for even rows, PARITY_VALUES for odd ones.
    """
    tiles.configure(configuration)
    # The block before the one that is summed: its sums, first channel and target.
    done, done_channel, done_at = SUMS, 0, len(kept) - 2 * SPARE
    for parity in range(2):
        for channel in range(0, CHANNELS, BLOCK_OUTPUTS):
            for x in range(0, width, BLOCK_PX):
                tiles.begin_sums(bias, channel)
                at = first_filter + (2 * parity + channel // BLOCK_OUTPUTS) * _FILTER_VALUES
                to, pixel = done_at, done
                for step in range(8):  # two rows, two columns, two halves of the inputs
                    left = (above if step < 4 else below) + (x + parity) * _C + step % 4 * 32
                    tiles.load_factors(kept, left, 0, _C, filters, at)
                    # Each step activates four pixels of the block before, between the products.
                    tiles.add_product_0()
                    activate(sums, pixel, slope, done_channel, kept, to)
                    tiles.add_product_1()
                    activate(sums, pixel + BLOCK_OUTPUTS, slope, done_channel, kept, to + 2 * _C)
                    tiles.add_product_2()
                    activate(sums, pixel + 2 * BLOCK_OUTPUTS, slope, done_channel, kept, to + 4 * _C)
                    tiles.add_product_3()
                    activate(sums, pixel + 3 * BLOCK_OUTPUTS, slope, done_channel, kept, to + 6 * _C)
                    at, pixel, to = at + 2 * TILE, pixel + 4 * BLOCK_OUTPUTS, to + 8 * _C
                done = SUMS - done
                tiles.store_sums(sums, done, BLOCK_OUTPUTS)
                done_channel, done_at = channel, target + (2 * x + parity + 1) * _C + channel
    tiles.release()
    for last in range(BLOCK_PX):
        at_sum, to = done + last * BLOCK_OUTPUTS, done_at + last * 2 * _C
        activate(sums, at_sum, slope, done_channel, kept, to)
