"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3): a quarter of the multiplications.

Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks, CVPR 2016, with the points 0, 1, -1, 2, -2 and infinity. For a tile of 4x4 outputs, the 6x6
inputs d and the filter g,

    Y = At [ (G g Gt) * (Bt d B) ] A

where * is a product per channel pair and position: 36 matrix products over the channels take the place of
16 x 9. In float32 the rounding error of a layer is a few 1e-6 of its largest value, some ten times
that of the direct sum.

The transforms are compiled by numba, for 64 channels: with the number known, the compiler turns the loop
over channels into vector instructions. The products are SciPy's BLAS, called from there. All of it works on
blocks of tiles that stay in a core's second-level cache, without the interpreter's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.compiled import CHANNELS, compiled

Floats = npt.NDArray[np.float32]

#: Edge of the outputs and of the inputs of a tile, px.
TILE_PX, WINDOW_PX = 4, 6
#: Tiles of a block: what they are transformed to takes 300 KB, twice, beside filters of 600 KB, which
#: second-level caches hold. OpenBLAS keeps products of this size on the calling thread.
BLOCK_TILES = 32

_POSITIONS = WINDOW_PX**2
_FILTER = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)

# What numba sees as constants; Python's own floats would make it compute in float64.
_C, _ROW = CHANNELS, WINDOW_PX * CHANNELS
#: From one position's matrix to the next; multiples of a page would put all of them into the same lines.
_MATRIX = (BLOCK_TILES + 1) * CHANNELS
_OUT, _OUT_ROW = TILE_PX**2 * CHANNELS, TILE_PX * CHANNELS
_ZERO, _TWO, _FOUR, _FIVE, _EIGHT = (np.float32(value) for value in (0, 2, 4, 5, 8))


def transformed_filter(weight: Floats) -> Floats:
    """``weight`` (out, in, 3, 3) as (36, in, 64) float32, with zeros for outputs up to 64.

    Computed in float64. Raises ValueError for other than 64 inputs, more than 64 outputs or another size.
    """
    outputs, inputs, *size = weight.shape
    if inputs != CHANNELS or outputs > CHANNELS or size != [3, 3]:
        raise ValueError(f"expected (<= {CHANNELS}, {CHANNELS}, 3, 3), got {weight.shape}")
    result = np.zeros((_POSITIONS, inputs, CHANNELS), np.float32)
    exact = np.einsum("ab,oibc,dc->adio", _FILTER, weight.astype(np.float64), _FILTER)
    result[..., :outputs] = exact.reshape(_POSITIONS, inputs, outputs)
    return result


class Workspace:
    """Memory for one block of tiles; each thread needs its own."""

    def __init__(self) -> None:
        self.windows, self.products = np.zeros((2, _POSITIONS * _MATRIX), np.float32)
        self.tile = np.zeros(_OUT, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Rows of pixels somewhere in ``memory``, a flat float32 array: row i begins at ``starts[i]`` (uint64).

    Each has 64 channels for every pixel, and one pixel more at either end.
    """

    memory: Floats
    starts: npt.NDArray[np.uint64]


def convolve_tiles(
    source: Lines,
    target: Lines,
    weights: tuple[Floats, Floats, Floats],
    across: int,
    tiles: range,
    workspace: Workspace,
) -> None:
    """Outputs of ``tiles``, counted along rows of ``across`` tiles, from ``source`` into ``target``.

    ``source``: 4 m + 2 rows of 4 ``across`` + 2 pixels, one more on every side than there are outputs.
    ``target``: 4 m rows, of which all but the first and the last pixel are written. ``weights``:
    :func:`transformed_filter`, the bias (64,), and the slope (64,) that outputs below 0 are multiplied by.
    """
    _convolve(
        source.memory,
        source.starts,
        target.memory,
        target.starts,
        *weights,
        workspace.windows,
        workspace.products,
        workspace.tile,
        across,
        tiles.start,
        tiles.stop,
    )


@compiled
def _input(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Bt times one column or row of six."""
    even, odd = e - _FOUR * c, d - _FOUR * b
    wide, tall = e - c, _TWO * (d - b)
    return (
        _FOUR * a - _FIVE * c + e,
        even + odd,
        even - odd,
        wide + tall,
        wide - tall,
        _FOUR * b - _FIVE * d + f,
    )


@compiled
def _output(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """At times one column or row of six."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + _TWO * s, p + _FOUR * r, q + _EIGHT * s + f


@compiled
def _transform_inputs(source: Any, starts: Any, windows: Any, across: Any, first: Any, last: Any) -> None:
    for tile in range(first, last):
        down = tile // across
        # Unsigned offsets: for signed ones numba tests each access for an index from the end.
        left = numba.uint64((tile - down * across) * TILE_PX * _C)
        r0, r1, r2, r3, r4, r5 = (
            _line(source, starts[TILE_PX * down] + left),
            _line(source, starts[TILE_PX * down + 1] + left),
            _line(source, starts[TILE_PX * down + 2] + left),
            _line(source, starts[TILE_PX * down + 3] + left),
            _line(source, starts[TILE_PX * down + 4] + left),
            _line(source, starts[TILE_PX * down + 5] + left),
        )
        out = windows[numba.uint64((tile - first) * _C) :]
        for channel in range(numba.uint64(_C)):
            i0, i1, i2 = channel, channel + numba.uint64(_C), channel + numba.uint64(2 * _C)
            i3, i4, i5 = (
                channel + numba.uint64(3 * _C),
                channel + numba.uint64(4 * _C),
                channel + numba.uint64(5 * _C),
            )
            a0, b0, c0, d0, e0, f0 = _input(r0[i0], r1[i0], r2[i0], r3[i0], r4[i0], r5[i0])
            a1, b1, c1, d1, e1, f1 = _input(r0[i1], r1[i1], r2[i1], r3[i1], r4[i1], r5[i1])
            a2, b2, c2, d2, e2, f2 = _input(r0[i2], r1[i2], r2[i2], r3[i2], r4[i2], r5[i2])
            a3, b3, c3, d3, e3, f3 = _input(r0[i3], r1[i3], r2[i3], r3[i3], r4[i3], r5[i3])
            a4, b4, c4, d4, e4, f4 = _input(r0[i4], r1[i4], r2[i4], r3[i4], r4[i4], r5[i4])
            a5, b5, c5, d5, e5, f5 = _input(r0[i5], r1[i5], r2[i5], r3[i5], r4[i5], r5[i5])
            _store(out, numba.uint64(0), channel, _input(a0, a1, a2, a3, a4, a5))
            _store(out, numba.uint64(1), channel, _input(b0, b1, b2, b3, b4, b5))
            _store(out, numba.uint64(2), channel, _input(c0, c1, c2, c3, c4, c5))
            _store(out, numba.uint64(3), channel, _input(d0, d1, d2, d3, d4, d5))
            _store(out, numba.uint64(4), channel, _input(e0, e1, e2, e3, e4, e5))
            _store(out, numba.uint64(5), channel, _input(f0, f1, f2, f3, f4, f5))


@compiled
def _line(source: Any, start: Any) -> Any:
    return source[start : start + numba.uint64(_ROW)]


@compiled
def _store(out: Any, line: Any, channel: Any, values: Any) -> None:
    start = line * numba.uint64(WINDOW_PX * _MATRIX) + channel
    out[start] = values[0]
    out[start + numba.uint64(_MATRIX)] = values[1]
    out[start + numba.uint64(2 * _MATRIX)] = values[2]
    out[start + numba.uint64(3 * _MATRIX)] = values[3]
    out[start + numba.uint64(4 * _MATRIX)] = values[4]
    out[start + numba.uint64(5 * _MATRIX)] = values[5]


@compiled
def _column(products: Any, index: Any) -> Any:
    """At times the column of a tile's products that begins at ``index``."""
    step = numba.uint64(WINDOW_PX * _MATRIX)
    return _output(
        products[index],
        products[index + step],
        products[index + numba.uint64(2) * step],
        products[index + numba.uint64(3) * step],
        products[index + numba.uint64(4) * step],
        products[index + numba.uint64(5) * step],
    )


@compiled
def _activated(value: Any, slope: Any) -> Any:
    return value if value > _ZERO else slope * value


@compiled
def _transform_outputs(
    products: Any,
    target: Any,
    starts: Any,
    bias: Any,
    slope: Any,
    tile_memory: Any,
    across: Any,
    first: Any,
    last: Any,
) -> None:
    for tile in range(first, last):
        down = tile // across
        own = products[numba.uint64((tile - first) * _C) :]
        for channel in range(numba.uint64(_C)):
            a0, b0, c0, d0 = _column(own, channel)
            a1, b1, c1, d1 = _column(own, channel + numba.uint64(_MATRIX))
            a2, b2, c2, d2 = _column(own, channel + numba.uint64(2 * _MATRIX))
            a3, b3, c3, d3 = _column(own, channel + numba.uint64(3 * _MATRIX))
            a4, b4, c4, d4 = _column(own, channel + numba.uint64(4 * _MATRIX))
            a5, b5, c5, d5 = _column(own, channel + numba.uint64(5 * _MATRIX))
            add, factor = bias[channel], slope[channel]
            _keep(tile_memory, numba.uint64(0), channel, _output(a0, a1, a2, a3, a4, a5), add, factor)
            _keep(tile_memory, numba.uint64(1), channel, _output(b0, b1, b2, b3, b4, b5), add, factor)
            _keep(tile_memory, numba.uint64(2), channel, _output(c0, c1, c2, c3, c4, c5), add, factor)
            _keep(tile_memory, numba.uint64(3), channel, _output(d0, d1, d2, d3, d4, d5), add, factor)
        # Rows of the target may overlap for all that the compiler knows: they are written in a loop each.
        left = numba.uint64((tile - down * across) * TILE_PX * _C + _C)
        for line in range(TILE_PX):
            at = starts[TILE_PX * down + line] + left
            there = target[at : at + numba.uint64(_OUT_ROW)]
            here = tile_memory[numba.uint64(line * _OUT_ROW) : numba.uint64((line + 1) * _OUT_ROW)]
            for index in range(numba.uint64(_OUT_ROW)):
                there[index] = here[index]


@compiled
def _keep(out: Any, line: Any, channel: Any, values: Any, bias: Any, slope: Any) -> None:
    start = line * numba.uint64(_OUT_ROW) + channel
    out[start] = _activated(values[0] + bias, slope)
    out[start + numba.uint64(_C)] = _activated(values[1] + bias, slope)
    out[start + numba.uint64(2 * _C)] = _activated(values[2] + bias, slope)
    out[start + numba.uint64(3 * _C)] = _activated(values[3] + bias, slope)


@compiled
def _convolve(
    source: Any,
    source_starts: Any,
    target: Any,
    target_starts: Any,
    filters: Any,
    bias: Any,
    slope: Any,
    windows: Any,
    products: Any,
    tile_memory: Any,
    across: Any,
    start: Any,
    stop: Any,
) -> None:
    for first in range(start, stop, BLOCK_TILES):
        last = min(first + BLOCK_TILES, stop)
        _transform_inputs(source, source_starts, windows, across, first, last)
        # Blocks are always whole here, so that every tile meets the same code.
        for position in range(_POSITIONS):
            begin = position * _MATRIX
            end = begin + BLOCK_TILES * _C
            np.dot(
                windows[begin:end].reshape(BLOCK_TILES, _C),
                filters[position],
                products[begin:end].reshape(BLOCK_TILES, _C),
            )
        _transform_outputs(products, target, target_starts, bias, slope, tile_memory, across, first, last)
