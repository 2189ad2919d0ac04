"""An enlargement by 2 and the 3x3 convolution after it, in bf16 by the CPU's matrix unit.

A picture enlarged by its nearest pixels has only 2x2 different ones under a 3x3 filter. So each enlargement
with its convolution is four filters of 2x2, one for either parity of row and column, whose weights are sums
of the 3x3's: 4/9 of the products, and nothing enlarged is ever in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.layers import SPARE, Bfloats, Floats, packed_filter
from imgpipe.upscaling.cpu.tiles import (
    BLOCK_OUTPUTS,
    BLOCK_PX,
    SUMS,
    TILE,
    add_product_0,
    add_product_1,
    add_product_2,
    add_product_3,
    begin_sums,
    configure,
    load_factors,
    release,
    store_sums,
)
from imgpipe.upscaling.cpu.vectors import activate

_C = CHANNELS
#: Values of a packed 2x2 filter for 32 outputs, and of all that rows of one parity take.
_FILTER_VALUES = 2 * 2 * 2 * 2 * TILE
PARITY_VALUES = 4 * _FILTER_VALUES


def packed_by_parity(weight: Floats) -> Bfloats:
    """``weight`` (64, 64, 3, 3) as 2x2 filters for :func:`enlarge_row`: (2 * PARITY_VALUES,).

    In order of parity of row, of column, and then as in :func:`packed_filter`.
    """
    parts = []
    for rows in _sums(weight, 2):
        for four in _sums(rows, 3):
            whole = np.pad(four, ((0, 0), (0, 0), (0, 1), (0, 1)))
            parts.append(packed_filter(whole).reshape(2, 3, 3, -1)[:, :2, :2].ravel())
    packed: Bfloats = np.concatenate(parts)
    return packed


def _sums(weight: Floats, axis: int) -> tuple[Floats, Floats]:
    """The three weights of an axis as the two that an even pixel has, and an odd one."""
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

    With its leaky ReLU, as bf16 values of ``kept``, the last 2 * SPARE of which are written before the first
    block is there. ``first_filter``: 0 for even rows, PARITY_VALUES for odd ones.
    """
    configure(configuration)
    # The block before the one that is summed: its sums, its first channel and where it goes.
    done, done_channel, done_at = SUMS, 0, len(kept) - 2 * SPARE
    for parity in range(2):
        for channel in range(0, CHANNELS, BLOCK_OUTPUTS):
            for x in range(0, width, BLOCK_PX):
                begin_sums(bias, channel)
                at = first_filter + (2 * parity + channel // BLOCK_OUTPUTS) * _FILTER_VALUES
                to, pixel = done_at, done
                for step in range(8):  # two rows, two columns, two halves of the inputs
                    left = (above if step < 4 else below) + (x + parity) * _C + step % 4 * 32
                    load_factors(kept, left, 0, _C, filters, at)
                    # Each step finishes four pixels of the block before, between the products.
                    add_product_0()
                    activate(sums, pixel, slope, done_channel, kept, to)
                    add_product_1()
                    activate(sums, pixel + BLOCK_OUTPUTS, slope, done_channel, kept, to + 2 * _C)
                    add_product_2()
                    activate(sums, pixel + 2 * BLOCK_OUTPUTS, slope, done_channel, kept, to + 4 * _C)
                    add_product_3()
                    activate(sums, pixel + 3 * BLOCK_OUTPUTS, slope, done_channel, kept, to + 6 * _C)
                    at, pixel, to = at + 2 * TILE, pixel + 4 * BLOCK_OUTPUTS, to + 8 * _C
                done = SUMS - done
                store_sums(sums, done, BLOCK_OUTPUTS)
                done_channel, done_at = channel, target + (2 * x + parity + 1) * _C + channel
    release()
    for last in range(BLOCK_PX):
        at_sum, to = done + last * BLOCK_OUTPUTS, done_at + last * 2 * _C
        activate(sums, at_sum, slope, done_channel, kept, to)
