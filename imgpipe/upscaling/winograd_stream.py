"""A chain of Winograd convolutions computed in bands of rows, as :mod:`row_stream` does with direct ones.

A band of rows of tiles goes through all layers before the next one is begun, so that its 64 channels are
still in the cache when the next layer reads them. Each layer's input is a ring of rows: what its next
tiles begin with stays where it is. Shares of the tiles are handed to threads as they become free; each
tile is the same computation wherever it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.team import Team
from imgpipe.upscaling.winograd import (
    BLOCK_TILES,
    TILE_PX,
    WINDOW_PX,
    Floats,
    Lines,
    Workspace,
    convolve_tiles,
)

#: Tiles that a thread takes at a time, in whole blocks, and how often each does in a band: fewer leave
#: threads waiting at each layer, more leave the cache.
_SHARE_TILES = 3 * BLOCK_TILES
_SHARES_PER_THREAD = 8


@dataclass(frozen=True, slots=True, eq=False)
class WinogradLayer:
    """``filters``: :func:`imgpipe.upscaling.winograd.transformed_filter`. ``bias``, ``slope``: (64,) float32;
    outputs below 0 are multiplied by their channel's slope, 1 leaves them."""

    filters: Floats
    bias: Floats
    slope: Floats


@dataclass(frozen=True, slots=True)
class BandPlan:
    """How a picture of ``width`` x ``height`` px is cut for ``layers`` layers on ``threads`` threads."""

    width: int
    height: int
    layers: int
    threads: int

    @property
    def tiles_across(self) -> int:
        return -(-self.width // TILE_PX)

    @property
    def rows_of_tiles(self) -> int:
        return -(-self.height // TILE_PX)

    @property
    def band_rows(self) -> int:
        """Rows of pixels that are begun at once, a multiple of a tile's."""
        wanted = _SHARES_PER_THREAD * self.threads * _SHARE_TILES
        return TILE_PX * min(self.rows_of_tiles, max(1, -(-wanted // self.tiles_across)))

    @property
    def ring_rows(self) -> int:
        """Rows of a layer's input in memory: a band, the tile before it, and the rows around them."""
        return self.band_rows + TILE_PX + WINDOW_PX

    @property
    def row_floats(self) -> int:
        """Numbers of a row: all tiles, and one pixel at either end."""
        return (self.tiles_across * TILE_PX + 2) * CHANNELS

    @property
    def floats(self) -> int:
        """Numbers in memory while a picture is computed."""
        scratch = 2 * self.threads * (BLOCK_TILES + 1) * WINDOW_PX**2 * CHANNELS
        return (self.layers + 1) * (self.ring_rows + 1) * self.row_floats + scratch


def stream_tiles(
    layers: Sequence[WinogradLayer], first_rows: Callable[[int, int], Floats], plan: BandPlan
) -> Iterator[tuple[int, Floats]]:
    """(first row, rows (n, width, 64) of the last layer's output) from top to bottom, together all of it.

    ``first_rows(start, stop)``: rows of the first layer's input, (n, width, 64) float32; asked for once each,
    in order. What is beyond the picture counts as 0 in every layer.
    """
    rings = [_Ring(plan) for _ in range(len(layers) + 1)]
    with Team([Workspace() for _ in range(plan.threads)]) as team:
        while (done := rings[-1].stop) < plan.height:
            begin = rings[0].stop
            end = min(plan.height, begin + plan.band_rows)
            if end > begin:
                rings[0].append(first_rows(begin, end))
            for layer, source, target in zip(layers, rings, rings[1:], strict=False):
                rows_of_tiles = min(source.finished_tiles(target.stop), plan.band_rows // TILE_PX)
                if rows_of_tiles:
                    _convolve(team, layer, source, target, rows_of_tiles)
            if rings[-1].stop > done:
                yield done, rings[-1].rows(done)


class _Ring:
    """The last rows of a layer's input."""

    def __init__(self, plan: BandPlan) -> None:
        self._plan = plan
        self.tiles_across = plan.tiles_across
        self._size = plan.ring_rows
        # One row more stands for all that lie outside of the picture.
        self._memory = np.zeros((self._size + 1, plan.tiles_across * TILE_PX + 2, CHANNELS), np.float32)
        self.stop = 0  # of the rows that are there or were

    def append(self, rows: Floats) -> None:
        """Add (n, width, 64)."""
        at = np.arange(self.stop, self.stop + len(rows)) % self._size
        self._memory[at, 1 : self._plan.width + 1] = rows
        self.stop += len(rows)

    def finished_tiles(self, done: int) -> int:
        """Rows of tiles whose outputs from row ``done`` on can be computed now."""
        whole = self.stop == self._plan.height
        last = self._plan.rows_of_tiles * TILE_PX if whole else self.stop - 1  # a tile needs the row below it
        return max(0, last - done) // TILE_PX

    def lines(self, start: int, stop: int) -> Lines:
        """Rows ``start`` to ``stop``, those outside of the picture as 0."""
        rows = np.arange(start, stop)
        outside = (rows < 0) | (rows >= self._plan.height)
        return self._at(np.where(outside, self._size, rows % self._size))

    def space(self, rows: int) -> Lines:
        """The next ``rows`` rows, to be written; beyond the picture's end too, where nobody reads them."""
        return self._at(np.arange(self.stop, self.stop + rows) % self._size)

    def written(self, rows: int) -> None:
        """The next ``rows`` rows are there; what they have beyond the picture's width is cleared."""
        if self._plan.width % TILE_PX:
            slots = np.arange(self.stop, self.stop + rows) % self._size
            self._memory[slots, self._plan.width + 1 :] = 0
        self.stop = min(self.stop + rows, self._plan.height)

    def _at(self, slots: npt.NDArray[np.intp]) -> Lines:
        return Lines(self._memory.reshape(-1), (slots * self._plan.row_floats).astype(np.uint64))

    def rows(self, start: int) -> Floats:
        """A copy of the rows from ``start`` on, (n, width, 64)."""
        slots = np.arange(start, self.stop) % self._size
        copied: Floats = self._memory[slots, 1 : self._plan.width + 1]
        return copied


def _convolve(
    team: Team[Workspace], layer: WinogradLayer, source: _Ring, target: _Ring, rows_of_tiles: int
) -> None:
    """The next ``rows_of_tiles`` of ``target``."""
    start, rows = target.stop, rows_of_tiles * TILE_PX
    inputs, outputs = source.lines(start - 1, start + rows + 1), target.space(rows)
    weights, across = (layer.filters, layer.bias, layer.slope), target.tiles_across

    tiles = rows_of_tiles * across
    shares = iter(range(0, tiles, _SHARE_TILES))

    def work(space: Workspace) -> None:
        for first in shares:  # a thread that is slow takes fewer
            share = range(first, min(first + _SHARE_TILES, tiles))
            convolve_tiles(inputs, outputs, weights, across, share, space)

    team.run(work)
    target.written(rows)
