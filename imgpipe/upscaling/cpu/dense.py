"""Residual dense blocks (ESRGAN's trunk) in bf16 by the CPU's matrix unit, all of a picture in one call.

Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, 2018: five convolutions, each
of which reads 64 channels and the 32 of each convolution before it. A pixel's 192 channels lie together, so
no concatenation is copied: a convolution reads as many of them as it needs and appends its own. The last one
writes the next block's input to another buffer.

A block is computed in bands of rows, each convolution one row behind the one before it, so that its input
is still in the cache. Sums are in float32 and in the same order for every pixel: tiles equal the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.cpu import tiles
from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.instructions import add_and_get, get, give_way
from imgpipe.upscaling.cpu.layers import (
    Bfloats,
    Floats,
    Indices,
    aligned,
    aligned_copy,
    packed_filter,
    row_pixels,
)
from imgpipe.upscaling.cpu.team import Team
from imgpipe.upscaling.cpu.tiles import BLOCK_OUTPUTS, BLOCK_PX, SUMS, TILE
from imgpipe.upscaling.cpu.vectors import activate, add_residual

#: Channels that each of the first four convolutions adds, and values of a pixel with all of them.
GROWTH = 32
DENSE = CHANNELS + 4 * GROWTH
_CONVOLUTIONS = 5
#: Blocks of an RRDB, and buffers that alternate.
_BLOCKS = 3
#: The scale of a block's residual and of an RRDB's (ESRGAN, section 3.1).
_SCALE = np.float32(0.2)

#: Pixels of a task's rows: a band of them stays in the core's cache through all five convolutions.
_SHARE_PIXELS = 2048
_SHARES_PER_THREAD = 2

#: Columns of the table of tasks.
_LAYER, _BEGIN, _END, _NEEDED = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class DenseTrunk:
    """The convolutions of all blocks, three of which make an RRDB, one after another.

    ``filters``: packed, one behind the other, ``starts`` (convolutions,) where each begins. ``bias``:
    (convolutions, 64) float32. ``slope``: (32,) float32, of the leaky ReLU after each block's first four.
    """

    filters: Bfloats
    starts: Indices
    bias: Floats
    slope: Floats

    @property
    def blocks(self) -> int:
        return len(self.starts) // _CONVOLUTIONS


def dense_trunk(convolutions: Sequence[tuple[Floats, Floats]], slope: float) -> DenseTrunk:
    """From (weight, bias) of each convolution in their order."""
    packed = [packed_filter(weight, len(weight) // BLOCK_OUTPUTS) for weight, _ in convolutions]
    starts = np.cumsum([0, *(len(part) for part in packed)])
    filters: Bfloats = aligned_copy(np.concatenate(packed))
    bias: Floats = aligned((len(convolutions), CHANNELS), np.float32)
    for index, (_, values) in enumerate(convolutions):
        bias[index, : len(values)] = values
    slopes: Floats = aligned((BLOCK_OUTPUTS,), np.float32)
    slopes[:] = slope
    return DenseTrunk(filters, starts[:-1], bias, slopes)


def memory_shape(width: int, height: int) -> tuple[int, int, int, int]:
    """(buffers, rows, pixels, values) of :func:`compute`'s memory, with padding around each picture."""
    return _BLOCKS, height + 2, row_pixels(width), DENSE


def compute(trunk: DenseTrunk, memory: Bfloats, width: int, height: int, threads: int) -> int:
    """All blocks, in place. Returns the buffer in which the first 64 values of a pixel are the result.

    ``memory``: :func:`memory_shape`, aligned to a cache line; zeros, but for the input (bf16) in the first 64
    values of the first buffer, from row 1 and pixel 1 on.
    """
    tasks = _tasks(trunk.blocks, width, height, threads)
    taken, finished = np.zeros(1, np.int64), np.zeros(len(tasks), np.int64)
    flat = memory.reshape(-1)
    piece, row = memory[0].size, memory[0, 0].size

    def work(space: tuple[Floats, npt.NDArray[np.uint8]]) -> None:
        _compute(
            flat,
            piece,
            row,
            width,
            trunk.filters,
            trunk.starts,
            trunk.bias,
            trunk.slope,
            tasks,
            taken,
            finished,
            *space,
        )

    with Team([(aligned((2 * SUMS,), np.float32), tiles.whole_tiles()) for _ in range(threads)]) as team:
        team.run(work)
    return trunk.blocks % _BLOCKS


def _tasks(blocks: int, width: int, height: int, threads: int) -> Indices:
    """(tasks, 4) int64: convolution, first row, row after the last, how many tasks must be finished."""
    share = max(1, min(_SHARE_PIXELS // row_pixels(width), -(-height // (threads * _SHARES_PER_THREAD))))
    band = share * threads * _SHARES_PER_THREAD
    found: list[tuple[int, int, int, int]] = []
    after = [0] * height  # by row: the tasks up to the one that makes it, of the convolution before
    for block in range(blocks):
        row_after = [after, *([0] * height for _ in range(_CONVOLUTIONS))]
        for start in range(0, height + _CONVOLUTIONS - 1, band):
            for index in range(_CONVOLUTIONS):
                first, stop = max(0, start - index), min(height, start + band - index)
                for begin in range(first, stop, share):
                    end = min(stop, begin + share)
                    needed = row_after[index][min(end, height - 1)]
                    found.append((block * _CONVOLUTIONS + index, begin, end, needed))
                    row_after[index + 1][begin:end] = [len(found)] * (end - begin)
        after = row_after[-1]
    return np.array(found, np.int64)


@compiled
def _compute(
    memory: Any,
    piece: Any,
    row: Any,
    width: Any,
    filters: Any,
    starts: Any,
    bias: Any,
    slope: Any,
    tasks: Any,
    taken: Any,
    finished: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """What one thread does; all threads call this with the same counters."""
    known = 0  # the first ``known`` tasks are known to be finished
    task = add_and_get(taken, 0, 1)
    while task < len(tasks):
        while known < tasks[task, _NEEDED]:
            while get(finished, known) == 0:
                give_way()
            known += 1
        layer = tasks[task, _LAYER]
        block, index = layer // _CONVOLUTIONS, layer % _CONVOLUTIONS
        source = block % _BLOCKS * piece
        is_last = index == _CONVOLUTIONS - 1
        target = (block + 1) % _BLOCKS * piece if is_last else source + CHANNELS + index * GROWTH
        ends_sum = is_last and block % _BLOCKS == _BLOCKS - 1
        _convolve(
            memory,
            source,
            target,
            2 + index,
            filters,
            starts[layer],
            bias[layer],
            slope,
            is_last,
            source - target,
            -target,  # the first buffer holds the RRDB's input
            ends_sum,
            row,
            width,
            tasks[task, _BEGIN],
            tasks[task, _END],
            sums,
            configuration,
        )
        add_and_get(finished, task, 1)
        task = add_and_get(taken, 0, 1)


@compiled
def _convolve(
    memory: Any,
    source: Any,
    target: Any,
    groups: Any,
    filters: Any,
    first_filter: Any,
    bias: Any,
    slope: Any,
    is_residual: Any,
    near: Any,
    far: Any,
    ends_sum: Any,
    row: Any,
    width: Any,
    begin: Any,
    end: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """Rows ``begin`` to ``end`` of a convolution of ``groups`` x 32 values of each pixel from ``source`` on.

    32 outputs with leaky ReLU, or 64 that are added to the block's input (``near``) and, where the RRDB ends
    (``ends_sum``), to the RRDB's input (``far``); both are distances from ``target``.
    """
    outputs = 2 * BLOCK_OUTPUTS if is_residual else BLOCK_OUTPUTS
    tiles.configure(configuration)
    # The block before the one that is summed: its sums, its target, and how many of its pixels are written.
    done, done_at, pixel = SUMS, 0, BLOCK_PX
    for y in range(begin, end):
        for channel in range(0, outputs, BLOCK_OUTPUTS):
            for x in range(0, width, BLOCK_PX):
                tiles.begin_sums(bias, channel)
                at = first_filter + channel // BLOCK_OUTPUTS * groups * 9 * 2 * TILE
                for tap in range(9):
                    left = source + (y + tap // 3) * row + (x + tap % 3) * DENSE
                    for group in range(groups):
                        tiles.load_factors(memory, left, group * 32, DENSE, filters, at)
                        tiles.add_product_0()
                        # Two pixels of the block before are written between the products.
                        for _ in range(2):
                            if pixel < BLOCK_PX:
                                to = done_at + pixel * DENSE
                                from_sum = done + pixel * BLOCK_OUTPUTS
                                _settle(sums, from_sum, memory, to, slope, is_residual, near, far, ends_sum)
                                pixel += 1
                        tiles.add_product_1()
                        tiles.add_product_2()
                        tiles.add_product_3()
                        at += 2 * TILE
                done = SUMS - done
                tiles.store_sums(sums, done, BLOCK_OUTPUTS)
                done_at, pixel = target + (y + 1) * row + (x + 1) * DENSE + channel, 0
    tiles.release()
    for last in range(BLOCK_PX):
        to = done_at + last * DENSE
        _settle(sums, done + last * BLOCK_OUTPUTS, memory, to, slope, is_residual, near, far, ends_sum)
    for y in range(begin, end):  # clear what blocks wrote beyond the picture's width
        for x in range(width + 1, row // DENSE):
            to = target + (y + 1) * row + x * DENSE
            for index in range(to, to + outputs):
                memory[index] = 0


@compiled
def _settle(
    sums: Any,
    first: Any,
    memory: Any,
    target: Any,
    slope: Any,
    is_residual: Any,
    near: Any,
    far: Any,
    ends_sum: Any,
) -> None:
    """Write 32 sums of a pixel to ``target``, activated or as a residual; see :func:`_convolve`."""
    if not is_residual:
        activate(sums, first, slope, 0, memory, target)
    elif ends_sum:
        add_residual(sums, first, memory, target, near, far, _SCALE, _SCALE, np.float32(1))
    else:
        add_residual(sums, first, memory, target, near, near, _SCALE, np.float32(1), np.float32(0))
