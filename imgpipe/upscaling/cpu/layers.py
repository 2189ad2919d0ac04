"""3x3 convolutions of 64 channels in bf16 by the CPU's matrix unit, each with its activation.

torch computes a convolution, its activation and the copy to where the next layer reads in three passes; the
last two take as long as the first where the matrix unit is fast. Here a block of 32 pixels x 32 outputs
is summed in four tile registers, and while the next block is summed, the vector units apply bias and PReLU
to this one, round it to bf16 once and write it where the next layer reads. The sums are in float32 and in the
same order for every pixel, so tiles of a picture equal the whole, bit for bit.

Pictures are flat arrays, aligned to a cache line, of rows of :func:`row_pixels` pixels with 64 channels each;
the first pixel of a row is padding. Needs :func:`imgpipe.upscaling.cpu.matrix_unit.is_usable`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.cpu import tiles
from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.tiles import BLOCK_OUTPUTS, BLOCK_PX, LINE_BYTES, SUMS, TILE
from imgpipe.upscaling.cpu.vectors import PATCHES, activate, weigh_patches

Floats = npt.NDArray[np.float32]
#: bf16 values, as their bits.
Bfloats = npt.NDArray[np.uint16]
Indices = npt.NDArray[np.int64]

_NAN = 0x7FC0
#: Inputs of a pixel in one register.
_INPUTS = 32
_C = CHANNELS
_FILTER_HALF = 3 * 6 * 2 * TILE
#: Values at the end of :func:`convolve`'s memory that are overwritten before the first block is finished.
SPARE = BLOCK_PX * CHANNELS
#: Pixels of padding at the end of :func:`convolve_first`'s picture: read, but not used.
SPARE_PIXELS = PATCHES - 1


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Zeros aligned to a cache line, from which registers load twice as fast."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned_copy(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of ``values`` that is aligned to a cache line."""
    copied = aligned(values.shape, values.dtype.type)
    copied[:] = values
    return copied


def row_pixels(width: int) -> int:
    """Pixels of a row in memory: whole blocks, and one of padding at either end."""
    return -(-width // BLOCK_PX) * BLOCK_PX + 2


def to_bfloats(values: npt.NDArray[Any]) -> Bfloats:
    """``values`` rounded to bf16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: Bfloats = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    rounded[np.isnan(values)] = _NAN  # rounding would turn some into 0
    return rounded


def from_bfloats(bits: Bfloats) -> Floats:
    """bf16 values as float32."""
    values: Floats = (bits.astype(np.uint32) << 16).view(np.float32)
    return values


def packed_filter(weight: Floats, blocks: int = 2) -> Bfloats:
    """``weight`` (out, in, 3, 3) in the registers' layout, zero-padded to ``blocks`` x 32 outputs.

    ``in`` is a multiple of 32. Order: block of outputs, row, column, block of inputs, half of the block,
    pair of inputs, output, input of the pair. Raises ValueError for other shapes.
    """
    outputs, inputs, *size = weight.shape
    most = blocks * BLOCK_OUTPUTS
    if inputs % _INPUTS or outputs > most or size != [3, 3]:
        raise ValueError(f"expected (<= {most}, a multiple of {_INPUTS}, 3, 3), got {weight.shape}")
    whole = np.zeros((most, inputs, 3, 3), np.float32)
    whole[:outputs] = weight
    parts = to_bfloats(whole).reshape(blocks, 2, 16, inputs // _INPUTS, 16, 2, 3, 3)  # outputs, inputs, y, x
    packed: Bfloats = np.ascontiguousarray(parts.transpose(0, 6, 7, 3, 1, 4, 2, 5)).reshape(-1)
    return packed


@compiled
def convolve(
    memory: Any,
    reads: Any,
    writes: Any,
    filters: Any,
    bias: Any,
    slope: Any,
    row: Any,
    width: Any,
    begin: Any,
    end: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """Rows ``begin`` to ``end`` of a layer's output, in bf16 and with PReLU, within ``memory``.

    Row y, at ``writes[y]``, is computed from those at ``reads[y]``, ``reads[y + 1]`` and ``reads[y + 2]``.
    ``filters``: :func:`packed_filter`. ``bias``, ``slope``: (64,) float32. ``row``: values of a row.
    ``sums``: (2 * SUMS,) float32 of the calling thread.
    """
    tiles.configure(configuration)
    # The block before the one that is summed: its sums, first channel and target.
    done, done_channel, done_at = SUMS, 0, len(memory) - SPARE
    for y in range(begin, end):
        for half in range(2):
            channel = half * BLOCK_OUTPUTS
            for x in range(0, width, BLOCK_PX):
                tiles.begin_sums(bias, channel)
                at, pixel = half * _FILTER_HALF, 0
                for dy in range(3):
                    left = reads[y + dy] + x * _C
                    for part in range(6):  # three columns, two halves of the inputs
                        tiles.load_factors(memory, left, part * 32, _C, filters, at)
                        tiles.add_product_0()
                        # Sixteen of the eighteen steps activate two pixels each, between the products.
                        if dy * 6 + part < 16:
                            activate(
                                sums, done + pixel * 32, slope, done_channel, memory, done_at + pixel * _C
                            )
                        tiles.add_product_1()
                        tiles.add_product_2()
                        if dy * 6 + part < 16:
                            pixel += 1
                            activate(
                                sums, done + pixel * 32, slope, done_channel, memory, done_at + pixel * _C
                            )
                            pixel += 1
                        tiles.add_product_3()
                        at += 2 * TILE
                done = SUMS - done
                tiles.store_sums(sums, done, BLOCK_OUTPUTS)
                done_channel, done_at = channel, writes[y] + (x + 1) * _C + channel
    tiles.release()
    for pixel in range(BLOCK_PX):
        activate(sums, done + pixel * 32, slope, done_channel, memory, done_at + pixel * _C)
    for y in range(begin, end):  # clear what blocks wrote beyond the picture's width
        for index in range(writes[y] + (width + 1) * _C, writes[y] + row):
            memory[index] = 0


@compiled
def convolve_row_to_float(
    memory: Any,
    reads: Any,
    target: Any,
    filters: Any,
    bias: Any,
    width: Any,
    y: Any,
    halves: Any,
    configuration: Any,
) -> None:
    """Row ``y`` of the last layer's output, without an activation: (pixels in whole blocks, 64) float32.

    ``halves``: 1 if there are no more than 32 outputs, else 2.
    """
    tiles.configure(configuration)
    for half in range(halves):
        channel = half * BLOCK_OUTPUTS
        for x in range(0, width, BLOCK_PX):
            tiles.begin_sums(bias, channel)
            at = half * _FILTER_HALF
            for dy in range(3):
                left = reads[y + dy] + x * _C
                for part in range(6):
                    tiles.load_factors(memory, left, part * 32, _C, filters, at)
                    tiles.add_product_0()
                    tiles.add_product_1()
                    tiles.add_product_2()
                    tiles.add_product_3()
                    at += 2 * TILE
            tiles.store_sums(target, x * _C + channel, _C)
    tiles.release()


@compiled
def convolve_first(
    pixels: Any,
    memory: Any,
    writes: Any,
    filters: Any,
    bias: Any,
    slope: Any,
    row: Any,
    width: Any,
    begin: Any,
    end: Any,
    sums: Any,
) -> None:
    """Rows of the first layer, from 3 channels to 64 in float32, as bf16 into ``memory``.

    ``pixels``: rows of width + 2 pixels x 3 float32, one after another, and :data:`SPARE_PIXELS` more.
    ``filters``: (27 * 64,) by row, column, channel and output. The rest as in :func:`convolve`.
    """
    step = (width + 2) * 3
    for y in range(begin, end):
        for x in range(0, width, PATCHES):  # the last ones may lie beyond the picture
            weigh_patches(pixels, y * step + x * 3, step, filters, bias, sums)
            for patch in range(PATCHES):
                at = writes[y] + (x + patch + 1) * _C
                activate(sums, patch * _C, slope, 0, memory, at)
                activate(sums, patch * _C + 32, slope, 32, memory, at + 32)
        for index in range(writes[y] + (width + 1) * _C, writes[y] + row):
            memory[index] = 0
