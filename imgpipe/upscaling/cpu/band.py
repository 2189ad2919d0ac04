"""A band of rows through all layers of a compact network: one call of each of several threads.

Two buffers alternate: a layer reads its rows from one and writes to the other, from which the next layer
reads them. The last two rows of each layer's input are kept for the next band, so that nothing is computed
twice (fused layers: Alwani et al., 2016). A task is a share of a layer's rows; a thread begins one as
soon as the rows that it reads are finished. No thread waits for a whole layer, and the GIL is taken once per
band, not once per task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgpipe.upscaling.cpu.compiled import CHANNELS, compiled
from imgpipe.upscaling.cpu.instructions import add_and_get, get, give_way
from imgpipe.upscaling.cpu.layers import (
    SPARE,
    SPARE_PIXELS,
    Bfloats,
    Floats,
    Indices,
    aligned,
    convolve,
    convolve_first,
    convolve_row_to_float,
    row_pixels,
)
from imgpipe.upscaling.cpu.team import Team
from imgpipe.upscaling.cpu.tiles import SUMS, whole_tiles
from imgpipe.upscaling.cpu.vectors import enlarged_pixel
from imgpipe.upscaling.network import Strip

#: Pixels of a band for each thread: both buffers then fit into the third-level cache.
_BAND_PIXELS_PER_THREAD = 32_768
#: Shares of a layer for each thread: with more, more rows are read by two shares; with fewer, threads wait.
_SHARES_PER_THREAD = 4

#: Rows of a layer's input kept between bands: two that the next band reads, two that it writes meanwhile.
KEPT = 4

#: The last layer has 64 outputs at most, three for each pixel of the result.
MOST_FACTOR = 4
_enlarge_by_1, _enlarge_by_2, _enlarge_by_3, _enlarge_by_4 = (
    enlarged_pixel(factor) for factor in range(1, MOST_FACTOR + 1)
)


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
    """Bands and memory for ``width`` x ``height`` px, ``layers`` layers and ``threads`` threads."""

    width: int
    height: int
    layers: int
    threads: int

    @property
    def share_rows(self) -> int:
        """Rows of a task."""
        rows = min(self.height, self.threads * _BAND_PIXELS_PER_THREAD // row_pixels(self.width))
        return max(1, rows // (self.threads * _SHARES_PER_THREAD))

    @property
    def band_rows(self) -> int:
        """Rows of the picture in a band: a whole number of shares for each thread."""
        return min(self.height, self.share_rows * self.threads * _SHARES_PER_THREAD)

    @property
    def most_rows(self) -> int:
        """Most rows of a layer's output: in the last band each layer has one more than the one before."""
        return self.band_rows + self.layers

    @property
    def row_values(self) -> int:
        return row_pixels(self.width) * CHANNELS

    @property
    def memory_values(self) -> int:
        """A row of zeros, the rows that layers keep, the two buffers, and :data:`SPARE` values."""
        return (1 + self.layers * KEPT + 2 * self.most_rows) * self.row_values + SPARE

    @property
    def bytes(self) -> int:
        """Bytes allocated while a picture is computed."""
        return 2 * self.memory_values + self.threads * 4 * (2 * SUMS + self.row_values)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Which rows each layer computes in a band.

    ``made``: (layers,) number of rows. ``reads``: (layers, rows + 2), ``writes``: (layers, rows) where rows
    begin in memory; not used for what the first layer reads and the last one writes.
    """

    made: Indices
    reads: Indices
    writes: Indices


class Places:
    """Where rows lie in memory, from band to band. Rows are never moved.

    A layer's rows go to one of the two buffers, in order from its start; the last two of a band go to
    a ring of :data:`KEPT` rows that belongs to the layer.
    """

    def __init__(self, plan: BandPlan) -> None:
        self._plan = plan
        self._kept = [0] * plan.layers
        # The last rows of each layer's input. Above the picture is one row of zeros.
        self._above = [[0] for _ in range(plan.layers)]

    def band(self, begun: int, is_last: bool) -> Band:
        """The next band, of ``begun`` rows of the picture."""
        plan = self._plan
        made = np.zeros(plan.layers, np.int64)
        reads = np.zeros((plan.layers, plan.most_rows + 2), np.int64)
        writes = np.zeros((plan.layers, plan.most_rows), np.int64)
        made[0] = begun
        for layer in range(1, plan.layers):
            rows = self._places(layer - 1, int(made[layer - 1]))
            writes[layer - 1, : len(rows)] = rows
            rows = [*self._above[layer], *rows, *([0] if is_last else [])]
            reads[layer, : len(rows)] = rows
            made[layer] = max(0, len(rows) - 2)
            self._above[layer] = rows[-2:]
        return Band(made, reads, writes)

    def _places(self, layer: int, count: int) -> list[int]:
        kept = range(1 + layer * KEPT, 1 + (layer + 1) * KEPT)
        start = 1 + self._plan.layers * KEPT + layer % 2 * self._plan.most_rows
        rows = list(range(start, start + count))
        for index in range(max(0, count - 2), count):
            rows[index] = kept[self._kept[layer] % KEPT]
            self._kept[layer] += 1
        return [row * self._plan.row_values for row in rows]


class _Space:
    """Memory of one thread."""

    def __init__(self, plan: BandPlan) -> None:
        self.sums: Floats = aligned((2 * SUMS,), np.float32)
        self.row: Floats = aligned((plan.row_values,), np.float32)
        self.strange = np.zeros(3 * MOST_FACTOR, np.float32)
        self.configuration = whole_tiles()


def stream_strips(chain: AmxChain, window: Floats, plan: BandPlan) -> Iterator[tuple[Strip, bool]]:
    """(strip, whether all of it was finite) from top to bottom, together the whole picture.

    ``window``: (height, width, 3) float32, to which the enlarged detail is added (SRVGGNetCompact).
    """
    # Zero padding around the picture, as in every layer, and the spare pixels.
    pixels = np.zeros(((plan.height + 2) * (plan.width + 2) + SPARE_PIXELS, 3), np.float32)
    pixels[:-SPARE_PIXELS].reshape(plan.height + 2, plan.width + 2, 3)[1:-1, 1:-1] = window
    memory: Bfloats = aligned((plan.memory_values,), np.uint16)
    levels = np.empty((1, plan.height * chain.factor, plan.width * chain.factor, 3), np.uint16)
    mean = np.empty((1, plan.height, plan.width, 3), np.float32)
    places = Places(plan)
    spaces = [_Space(plan) for _ in range(plan.threads)]
    done = 0
    with Team(spaces) as team:
        for start in range(0, plan.height, plan.band_rows):
            stop = min(plan.height, start + plan.band_rows)
            band = places.band(stop - start, is_last=stop == plan.height)
            rows = int(band.made[-1])
            own = levels[:, done * chain.factor : (done + rows) * chain.factor]
            strip = Strip(done, own, mean[:, done : done + rows], (levels, mean))
            picture = pixels[start * (plan.width + 2) :], window[done : done + rows]
            _run(team, chain, plan, band, picture, memory, strip)
            if rows:
                yield strip, not any(space.strange.any() for space in spaces)
                done += rows


def _run(
    team: Team[_Space],
    chain: AmxChain,
    plan: BandPlan,
    band: Band,
    picture: tuple[Floats, Floats],
    memory: Bfloats,
    strip: Strip,
) -> None:
    """Compute ``strip`` from the ``picture``: the rows that the first layer reads, and the strip's own."""
    begun, base = (part.reshape(-1) for part in picture)
    levels, mean = strip.levels.reshape(-1), strip.mean.reshape(-1)
    shares = -(-band.made // plan.share_rows)
    first_task = np.concatenate([[0], np.cumsum(shares)])
    taken, finished = np.zeros(1, np.int64), np.zeros(first_task[-1], np.int64)

    def work(space: _Space) -> None:
        _band(
            chain.first,
            chain.filters,
            chain.bias,
            chain.slope,
            begun,
            base,
            memory,
            band.reads,
            band.writes,
            band.made,
            plan.row_values,
            plan.width,
            chain.factor,
            plan.share_rows,
            levels,
            mean,
            first_task,
            taken,
            finished,
            space.sums,
            space.row,
            space.strange,
            space.configuration,
        )

    team.run(work)


@compiled
def _band(
    first: Any,
    filters: Any,
    bias: Any,
    slope: Any,
    begun: Any,
    base: Any,
    memory: Any,
    reads: Any,
    writes: Any,
    made: Any,
    row: Any,
    width: Any,
    factor: Any,
    share_rows: Any,
    levels: Any,
    mean: Any,
    first_task: Any,
    taken: Any,
    finished: Any,
    sums: Any,
    sums_row: Any,
    strange: Any,
    configuration: Any,
) -> None:
    """What one thread does of a band; all of its threads call this with the same counters.

    Tasks are the shares of the first layer, then those of the second one and so on. ``first_task``: each
    layer's first, then their number. ``taken``: how many are begun. ``finished``: whether each is.
    """
    layers = len(made)
    layer, known = 0, 0  # the first ``known`` tasks are known to be finished
    task = add_and_get(taken, 0, 1)
    while task < len(finished):
        while task >= first_task[layer + 1]:
            layer += 1
        begin = (task - first_task[layer]) * share_rows
        end = min(begin + share_rows, made[layer])
        if layer > 0:
            # Row y reads rows up to y + 2 of the layer before and overwrites what its row y + 2 reads.
            needed = min(end + 2, made[layer - 1])
            needed = first_task[layer - 1] + (needed + share_rows - 1) // share_rows
            while known < needed:
                while get(finished, known) == 0:
                    give_way()
                known += 1
        if layer == 0:
            convolve_first(begun, memory, writes[0], first, bias[0], slope[0], row, width, begin, end, sums)
        elif layer < layers - 1:
            convolve(
                memory,
                reads[layer],
                writes[layer],
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
                    memory,
                    reads[layer],
                    sums_row,
                    filters[layer - 1],
                    bias[layer],
                    width,
                    y,
                    2,
                    configuration,
                )
                _finish(sums_row, base, levels, mean, strange, width, factor, y)
        add_and_get(finished, task, 1)
        task = add_and_get(taken, 0, 1)


@compiled
def _finish(
    sums: Any, base: Any, levels: Any, mean: Any, strange: Any, width: Any, factor: Any, y: Any
) -> None:
    """``factor`` rows of levels and a row of means from the last layer's ``sums`` and the picture."""
    across = width * factor * 3
    for x in range(width):
        at, pixel = x * CHANNELS, (y * width + x) * 3
        out = y * factor * across + x * factor * 3
        if factor == 4:
            _enlarge_by_4(sums, at, base, pixel, levels, out, across, mean, pixel, strange)
        elif factor == 3:
            _enlarge_by_3(sums, at, base, pixel, levels, out, across, mean, pixel, strange)
        elif factor == 2:
            _enlarge_by_2(sums, at, base, pixel, levels, out, across, mean, pixel, strange)
        else:
            _enlarge_by_1(sums, at, base, pixel, levels, out, across, mean, pixel, strange)
