"""What follows ESRGAN's trunk, in bf16 by the CPU's matrix unit: enlargements by 2 and the last convolutions.

Each thread computes bands of rows. In a band a layer runs only as far ahead as the next one needs, so that a
few rows of each are kept. Sums are in float32, in the same order for every pixel: tiles equal the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.enlarge import PARITY_VALUES, enlarge_row, packed_by_parity
from imgpipe.upscaling.cpu.instructions import add_and_get
from imgpipe.upscaling.cpu.layers import (
    SPARE,
    Bfloats,
    Floats,
    Indices,
    aligned,
    aligned_copy,
    convolve,
    convolve_row_to_float,
    from_bfloats,
    packed_filter,
    row_pixels,
    to_bfloats,
)
from imgpipe.upscaling.cpu.team import Team
from imgpipe.upscaling.cpu.tiles import SUMS, whole_tiles

_C = CHANNELS
#: Rows kept of a layer: three that the next layer reads, and one that is written.
_KEPT = 4
#: How many rows of the result before a band's first one its layers begin: the layer before the last one then
#: makes one row at a time, and no layer makes more rows at once than are kept.
_AHEAD = 2
_BANDS_PER_THREAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """``enlarging``: (enlargements, values) packed 2x2 filters. ``inner``, ``last``: packed 3x3 ones.

    ``bias``, ``slope``: (enlargements + 2, 64) float32 of all of them; the last one has no slope.
    """

    enlarging: Bfloats
    inner: Bfloats
    last: Bfloats
    bias: Floats
    slope: Floats

    @property
    def factor(self) -> int:
        return int(2 ** len(self.enlarging))


def packed_tail(convolutions: Sequence[tuple[Floats, Floats]], slopes: Sequence[float]) -> Tail:
    """From (weight, bias) of the convolution after each enlargement, of the next and of the last, to RGB.

    ``slopes``: of the leaky ReLU after each but the last. The last one's weights keep 16 bits: their rounding
    errors are the weights of three more outputs, for which the registers have room.
    """
    *others, (inner, _), (last, _) = convolutions
    enlarging: Bfloats = aligned((len(others), 2 * PARITY_VALUES), np.uint16)
    for filters, (weight, _) in zip(enlarging, others, strict=True):
        filters[:] = packed_by_parity(weight)
    bias, slope = aligned((2, len(convolutions), CHANNELS), np.float32)
    for index, (_, values) in enumerate(convolutions):
        bias[index, : len(values)] = values
    for index, value in enumerate(slopes):
        slope[index] = value
    lost = last - from_bfloats(to_bfloats(last))
    both = packed_filter(np.concatenate([last, lost]), blocks=1)
    return Tail(enlarging, aligned_copy(packed_filter(inner)), aligned_copy(both), bias, slope)


@dataclass(frozen=True, slots=True)
class TailPlan:
    """Memory of a thread for a picture of ``width`` x ``height`` px."""

    width: int
    height: int
    enlargements: int

    @property
    def rows(self) -> Indices:
        """(layers,) values of a row: the features, each enlargement, and the convolution after them."""
        blocks = row_pixels(self.width) - 2
        levels = [*range(self.enlargements + 1), self.enlargements]
        return np.array([(blocks * 2**level + 2) * _C for level in levels], np.int64)

    @property
    def kept_values(self) -> int:
        """bf16 values of the kept rows, and 2 * SPARE for :func:`enlarge_row`."""
        return int(self.rows.sum()) * _KEPT + 2 * SPARE

    @property
    def row_values(self) -> int:
        """float32 values of a row of the last convolution."""
        return (row_pixels(self.width * 2**self.enlargements) - 2) * _C


def compute(
    tail: Tail,
    features: Bfloats,
    first: int,
    stop: int,
    spaces: Sequence[tuple[Bfloats, Floats]],
    result: Floats,
) -> None:
    """Source rows ``first`` to ``stop`` into ``result``: (rows * factor, width * factor, 3) float32.

    ``features``: (height, width, 64) bf16. ``spaces``: for each thread ``kept_values`` zeros and
    ``row_values`` (:class:`TailPlan`), both aligned to a cache line.
    """
    height, width, _ = features.shape
    plan = TailPlan(width, height, len(tail.enlarging))
    share = -(-(stop - first) // (_BANDS_PER_THREAD * len(spaces)))
    taken = np.zeros(1, np.int64)
    flat, into, rows = features.reshape(-1), result.reshape(-1), plan.rows

    def work(space: tuple[Bfloats, Floats, Floats, npt.NDArray[np.uint8]]) -> None:
        kept, line, sums, configuration = space
        _bands(
            flat,
            width,
            height,
            tail.enlarging,
            tail.inner,
            tail.last,
            tail.bias,
            tail.slope,
            first,
            stop,
            share,
            taken,
            kept,
            rows,
            line,
            into,
            sums,
            configuration,
        )

    with Team([(*space, aligned((2 * SUMS,), np.float32), whole_tiles()) for space in spaces]) as team:
        team.run(work)


@compiled
def _bands(
    features: Any,
    width: Any,
    height: Any,
    enlarging: Any,
    inner: Any,
    last: Any,
    bias: Any,
    slope: Any,
    first: Any,
    stop: Any,
    share: Any,
    taken: Any,
    kept: Any,
    rows: Any,
    line: Any,
    result: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """What one thread does; all threads call this with the same counter."""
    top = len(rows) - 1  # the layer before the last one
    factor = 2 ** (top - 1)
    across = width * factor * 3
    begins = np.zeros(len(rows), np.int64)
    for layer in range(1, len(rows)):
        begins[layer] = begins[layer - 1] + _KEPT * rows[layer - 1]
    following = np.zeros(len(rows), np.int64)  # the next row of each layer
    needed = np.zeros(len(rows), np.int64)  # its last row that the next one of the result needs
    reads = np.zeros(3, np.int64)
    begin = first + add_and_get(taken, 0, 1) * share
    while begin < stop:
        end = min(stop, begin + share)
        _layers_of(begin * factor - _AHEAD, following, -1)
        for y in range(begin * factor - _AHEAD, end * factor):
            _layers_of(y, needed, 1)
            for layer in range(len(rows)):
                while following[layer] <= needed[layer]:
                    _make_row(
                        features,
                        width,
                        height,
                        enlarging,
                        inner,
                        bias,
                        slope,
                        layer,
                        following[layer],
                        kept,
                        begins,
                        rows,
                        reads,
                        sums,
                        configuration,
                    )
                    following[layer] += 1
            if y >= begin * factor:
                for row in range(3):
                    reads[row] = begins[top] + (y - 1 + row) % _KEPT * rows[top]
                convolve_row_to_float(kept, reads, line, last, bias[top], width * factor, 0, 1, configuration)
                at = (y - first * factor) * across
                for x in range(width * factor):
                    for color in range(3):  # the rounded weights' sum, and their rounding errors'
                        value = line[x * _C + color] + line[x * _C + 3 + color]
                        result[at + x * 3 + color] = value
        begin = first + add_and_get(taken, 0, 1) * share


@compiled
def _layers_of(y: Any, into: Any, side: Any) -> None:
    """The first (``side`` -1) or last (1) row of each layer that row ``y`` + 1 of the topmost one needs.

    That is the last row of it which row ``y`` of the result reads.
    """
    top = len(into) - 1
    into[top] = y + 1
    into[top - 1] = y + 1 + side
    for layer in range(top - 2, -1, -1):
        into[layer] = (into[layer + 1] - 1) // 2 + (1 if side > 0 else 0)


@compiled
def _make_row(
    features: Any,
    width: Any,
    height: Any,
    enlarging: Any,
    inner: Any,
    bias: Any,
    slope: Any,
    layer: Any,
    y: Any,
    kept: Any,
    begins: Any,
    rows: Any,
    reads: Any,
    sums: Any,
    configuration: Any,
) -> None:
    """Compute row ``y`` of a layer; rows above and below the picture are zeros."""
    top, row = len(rows) - 1, rows[layer]
    factor = 2 ** min(layer, top - 1)
    target = begins[layer] + y % _KEPT * row
    if y < 0 or y >= height * factor:
        for index in range(target, target + row):
            kept[index] = 0
    elif layer == 0:
        source = y * width * _C
        for index in range(width * _C):
            kept[target + _C + index] = features[source + index]
        for index in range(target + (width + 1) * _C, target + row):
            kept[index] = 0
    elif layer < top:
        above = (y - 1) // 2
        enlarge_row(
            kept,
            begins[layer - 1] + above % _KEPT * rows[layer - 1],
            begins[layer - 1] + (above + 1) % _KEPT * rows[layer - 1],
            target,
            enlarging[layer - 1],
            y % 2 * PARITY_VALUES,
            bias[layer - 1],
            slope[layer - 1],
            width * factor // 2,
            sums,
            configuration,
        )
        for index in range(target + (width * factor + 1) * _C, target + row):
            kept[index] = 0
    else:
        for around in range(3):
            reads[around] = begins[layer - 1] + (y - 1 + around) % _KEPT * rows[layer - 1]
        writes = begins[layer : layer + 1] + y % _KEPT * row
        convolve(
            kept,
            reads,
            writes,
            inner,
            bias[layer - 1],
            slope[layer - 1],
            row,
            width * factor,
            0,
            1,
            sums,
            configuration,
        )
