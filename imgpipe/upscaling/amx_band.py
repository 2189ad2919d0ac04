"""A band of rows through all layers of a compact network, by several threads, in one call of each.

Two pieces of memory take turns: a layer reads its rows from one and writes to the other where the next
layer reads them. Between bands each layer keeps the last two rows of its input, so that nothing is computed
twice (see :mod:`row_stream`). Threads take shares of a layer's rows until none is left; the one that
finishes the last share prepares the next layer. No thread waits for another to begin, and the
interpreter's lock is needed once per band, not once per share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.amx import (
    SPARE,
    SUMS,
    Bfloats,
    Floats,
    aligned,
    convolve,
    convolve_first,
    convolve_row_to_float,
    row_pixels,
)
from imgpipe.upscaling.amx_instructions import add_and_get, get, give_way, whole_tiles
from imgpipe.upscaling.compiled import CHANNELS, compiled
from imgpipe.upscaling.network import NATIVE_MAX, Strip
from imgpipe.upscaling.team import Team

#: Pixels of a band for each thread: they and what becomes of them fit into caches of the third level.
_BAND_PIXELS_PER_THREAD = 32_768
#: How often a thread takes a share of a layer: fewer leave threads waiting at its end.
_SHARES_PER_THREAD = 8

_FULL = np.float32(NATIVE_MAX)
_HALF, _ZERO, _ONE = np.float32(0.5), np.float32(0), np.float32(1)


@dataclass(frozen=True, slots=True, eq=False)
class AmxChain:
    """The convolutions of a network that enlarges by ``factor``, in aligned memory.

    ``first``: (27 * 64,) float32 by row, column, channel and output. ``filters``: a packed filter for each
    further layer. ``bias``, ``slope``: (layers, 64) float32; the last layer has no activation, and its
    outputs are in order of row, column, colour of the enlarged pixel.
    """

    first: Floats
    filters: Bfloats
    bias: Floats
    slope: Floats
    factor: int

    @property
    def layers(self) -> int:
        return len(self.bias)


@dataclass(frozen=True, slots=True)
class BandPlan:
    """How a picture of ``width`` x ``height`` px is cut for ``layers`` layers on ``threads`` threads."""

    width: int
    height: int
    layers: int
    threads: int

    @property
    def share_rows(self) -> int:
        """Rows that a thread takes at a time."""
        rows = min(self.height, self.threads * _BAND_PIXELS_PER_THREAD // row_pixels(self.width))
        return max(1, rows // (self.threads * _SHARES_PER_THREAD))

    @property
    def band_rows(self) -> int:
        """Rows that are begun at once: as many shares as come out even."""
        return min(self.height, self.share_rows * self.threads * _SHARES_PER_THREAD)

    @property
    def most_rows(self) -> int:
        """Of a layer's output at once: at the picture's end each layer has one more than the one before."""
        return self.band_rows + self.layers

    @property
    def row_values(self) -> int:
        return row_pixels(self.width) * CHANNELS

    @property
    def buffer_values(self) -> int:
        """Values of each of the two pieces: two rows from before the band, and one for the picture's end."""
        return (2 + self.most_rows + 1) * self.row_values + SPARE

    @property
    def bytes(self) -> int:
        """Memory while a picture is computed."""
        kept = 2 * self.layers * self.row_values
        spaces = self.threads * 4 * (2 * SUMS + self.row_values)
        return 2 * (2 * self.buffer_values + kept) + spaces


class _Space:
    """Memory of one thread."""

    def __init__(self, plan: BandPlan) -> None:
        self.sums: Floats = aligned((2 * SUMS,), np.float32)
        self.row: Floats = aligned((plan.row_values,), np.float32)
        self.configuration = whole_tiles()


def stream_strips(chain: AmxChain, window: Floats, plan: BandPlan) -> Iterator[tuple[Strip, bool]]:
    """(strip, whether all of it was finite) from top to bottom, together the whole picture.

    ``window``: (height, width, 3) float32, to which the enlarged detail is added (SRVGGNetCompact).
    """
    padded = np.pad(window, ((1, 1), (1, 1), (0, 0)))  # 0 around the picture, as in every layer
    buffers = [aligned((plan.buffer_values,), np.uint16) for _ in range(2)]
    kept = np.zeros((chain.layers, 2 * plan.row_values), np.uint16)
    # Above the picture is one row of 0. The first layer reads the picture itself and keeps nothing.
    above = np.ones(chain.layers, np.int64)
    levels = np.empty((1, plan.height * chain.factor, plan.width * chain.factor, 3), np.uint16)
    mean = np.empty((1, plan.height, plan.width, 3), np.float32)
    done = 0
    with Team([_Space(plan) for _ in range(plan.threads)]) as team:
        for start in range(0, plan.height, plan.band_rows):
            stop = min(plan.height, start + plan.band_rows)
            is_last = stop == plan.height
            made, kept_rows = _schedule(above, stop - start, is_last)
            rows = int(made[-1])
            own = levels[:, done * chain.factor : (done + rows) * chain.factor]
            strip = Strip(done, own, mean[:, done : done + rows], (levels, mean))
            base = window[done : done + rows]
            not_finite = _run(
                team, chain, plan, (padded, start, base), (made, above, is_last), kept, buffers, strip
            )
            above = kept_rows
            if rows:
                yield strip, not not_finite
                done += rows


def _schedule(
    above: npt.NDArray[np.int64], new: int, is_last: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(rows that each layer makes, rows that it keeps) where ``above`` were kept and ``new`` are begun."""
    made, kept = np.empty_like(above), above.copy()
    made[0] = new
    for layer in range(1, len(above)):
        there = above[layer] + made[layer - 1] + is_last
        made[layer], kept[layer] = max(0, there - 2), min(2, there)
    return made, kept


def _run(
    team: Team[_Space],
    chain: AmxChain,
    plan: BandPlan,
    picture: tuple[Floats, int, Floats],
    schedule: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool],
    kept: Bfloats,
    buffers: list[Bfloats],
    strip: Strip,
) -> bool:
    """Compute one band into ``strip``; whether something in it is not finite."""
    padded, start, base = picture
    made, above, is_last = schedule
    taken, finished, ready = np.zeros((3, chain.layers), np.int64)
    ready[0] = 1
    not_finite = np.zeros(1, np.int64)
    levels, mean = strip.levels.reshape(-1), strip.mean.reshape(-1)
    begun = np.ascontiguousarray(padded[start : start + made[0] + 2]).reshape(-1)
    base = np.ascontiguousarray(base).reshape(-1)
    buffers[0][: above[1] * plan.row_values] = kept[1, : above[1] * plan.row_values]
    weights = (chain.first, chain.filters, chain.bias, chain.slope)

    def work(space: _Space) -> None:
        _band(
            *weights,
            begun,
            base,
            *buffers,
            kept,
            made,
            above,
            is_last,
            plan.row_values,
            plan.width,
            chain.factor,
            plan.share_rows,
            levels,
            mean,
            not_finite,
            taken,
            finished,
            ready,
            space.sums,
            space.row,
            space.configuration,
        )

    team.run(work)
    return bool(not_finite[0])


@compiled
def _band(
    first: Any,
    filters: Any,
    bias: Any,
    slope: Any,
    begun: Any,
    base: Any,
    even: Any,
    odd: Any,
    kept: Any,
    made: Any,
    above: Any,
    is_last: Any,
    row: Any,
    width: Any,
    factor: Any,
    share_rows: Any,
    levels: Any,
    mean: Any,
    not_finite: Any,
    taken: Any,
    finished: Any,
    ready: Any,
    sums: Any,
    sums_row: Any,
    configuration: Any,
) -> None:
    """What one thread does of a band; all of its threads call this with the same counters.

    ``taken``, ``finished``: rows of each layer. ``ready``: whether a layer may begin.
    """
    layers = len(made)
    for layer in range(layers):
        while get(ready, layer) == 0:
            give_way()
        source, target = (even, odd) if layer % 2 else (odd, even)
        begin = add_and_get(taken, layer, share_rows)
        last = made[layer] == 0 and begin == 0  # of the threads, to be done with this layer
        while begin < made[layer]:
            end = min(begin + share_rows, made[layer])
            if layer == 0:
                at = above[1] * row
                convolve_first(begun, target, at, first, bias[0], slope[0], row, width, begin, end, sums)
            elif layer < layers - 1:
                convolve(
                    source,
                    target,
                    above[layer + 1] * row,
                    filters[layer - 1],
                    bias[layer],
                    slope[layer],
                    row,
                    width,
                    begin,
                    end,
                    sums,
                    configuration,
                )
            else:
                for y in range(begin, end):
                    convolve_row_to_float(
                        source, sums_row, filters[layer - 1], bias[layer], row, width, y, configuration
                    )
                    _finish(sums_row, base, levels, mean, not_finite, width, factor, y)
            if add_and_get(finished, layer, end - begin) + end - begin == made[layer]:
                last = True
            begin = add_and_get(taken, layer, share_rows)
        if last and layer + 1 < layers:
            _prepare(layer + 1, target, source, kept, made, above, is_last, row)
            add_and_get(ready, layer + 1, 1)


@compiled
def _prepare(
    layer: Any, source: Any, target: Any, kept: Any, made: Any, above: Any, is_last: Any, row: Any
) -> None:
    """Complete the input of ``layer``, keep what the next band needs of it, and begin its output."""
    there = above[layer] + made[layer - 1]
    if is_last:
        for index in range(there * row, (there + 1) * row):
            source[index] = 0
        there += 1
    start = max(0, there - 2) * row
    for index in range(there * row - start):
        kept[layer, index] = source[start + index]
    if layer + 1 < len(made):
        for index in range(above[layer + 1] * row):
            target[index] = kept[layer + 1, index]


@compiled
def _finish(
    sums: Any, base: Any, levels: Any, mean: Any, not_finite: Any, width: Any, factor: Any, y: Any
) -> None:
    """``factor`` rows of levels and a row of means from the last layer's ``sums`` and the picture."""
    across = width * factor * 3
    count = _ONE / np.float32(factor * factor)
    strange = _ZERO
    for x in range(width):
        red, green, blue = (
            base[(y * width + x) * 3],
            base[(y * width + x) * 3 + 1],
            base[(y * width + x) * 3 + 2],
        )
        red_sum, green_sum, blue_sum = _ZERO, _ZERO, _ZERO
        for row in range(factor):
            at = x * CHANNELS + row * factor * 3
            out = (y * factor + row) * across + x * factor * 3
            for _ in range(factor):
                r, g, b = sums[at] + red, sums[at + 1] + green, sums[at + 2] + blue
                strange += (r + g + b) * _ZERO  # NaN where one of them is not finite
                r, g, b = _clipped(r), _clipped(g), _clipped(b)
                red_sum += r
                green_sum += g
                blue_sum += b
                levels[out] = np.uint16(np.int32(r * _FULL + _HALF))
                levels[out + 1] = np.uint16(np.int32(g * _FULL + _HALF))
                levels[out + 2] = np.uint16(np.int32(b * _FULL + _HALF))
                at += 3
                out += 3
        mean[(y * width + x) * 3] = red_sum * count
        mean[(y * width + x) * 3 + 1] = green_sum * count
        mean[(y * width + x) * 3 + 2] = blue_sum * count
    if strange != _ZERO:
        not_finite[0] = 1


@compiled
def _clipped(value: Any) -> Any:
    return min(max(value, _ZERO), _ONE)
