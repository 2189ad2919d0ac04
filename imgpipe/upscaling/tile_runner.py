"""A network over all tiles of a picture: batches, and what is done when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Pixels
from imgpipe.upscaling.network import Answer, Finishing, Floats, LoadedNetwork, Native, Network, Strip
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.tile_planner import Attempt, TilePlanner
from imgpipe.upscaling.tiling import Span, TilePlan

Tile = tuple[Span, Span]
T = TypeVar("T")


class Receiver(Protocol):
    """Who takes what a network makes of a picture."""

    @property
    def finishing(self) -> Finishing | None:
        """What a device can do of the receiver's own work, all of it; ``None``: it needs more than that."""

    def take(self, first: int, levels: Native, mean: Floats) -> None:
        """The picture's rows from ``first`` on: levels (rows * scale, w * scale, 3) uint16 RGB, mean
        (rows, w, 3) float32 in 0..1, the levels reduced to the source's size with an area filter.

        Called from top to bottom; row 0 begins anew where something had to be done again.
        """

    def take_finished(self, answer: Answer) -> None:
        """The whole picture as :attr:`finishing` says; its levels are to be copied."""


@dataclass(frozen=True, slots=True, eq=False)
class Enlarged:
    """How a network enlarged one picture. ``seconds``: the picture's share of the network's time."""

    plan: TilePlan
    batch: int
    oom_retries: int
    fp32_retries: int
    seconds: float


class Picture:
    """The tiles of one attempt that are under way, some rows of them at a time, until ``receiver`` takes
    them."""

    def __init__(self, receiver: Receiver, scale: int, attempt: Attempt) -> None:
        self._receiver, self._scale, self._plan = receiver, scale, attempt.plan
        self._groups = iter(row_groups(attempt))
        self._next()

    def _next(self) -> None:
        self._rows = next(self._groups, ())
        self._left = len(self._rows) * len(self._plan.columns)
        self._levels: Native = np.empty((0, 0, 3), np.uint16)
        self._mean: Floats = np.empty((0, 0, 3), np.float32)

    def keep_whole(self, levels: Native, mean: Floats) -> None:
        """All of the picture, which stays the caller's memory."""
        self._levels, self._mean = levels, mean

    def keep_strip(self, tile: Tile, strip: Strip, index: int) -> None:
        """The part of a strip's window that belongs to its tile, and not to the halo."""
        row, column = tile
        offset = row.window_start + strip.start  # of the strip's first row in the picture
        first = max(row.start, offset)
        last = min(row.stop, offset + strip.mean.shape[1])
        if first >= last:
            return
        scale = self._scale
        levels = strip.levels[index, (first - offset) * scale : (last - offset) * scale, column.core(scale)]
        mean = strip.mean[index, first - offset : last - offset, column.core(1)]
        self._write(slice(first, last), column.kept, levels, mean)

    def keep_answer(self, tile: Tile, answer: Answer) -> None:
        """All of a tile, or the finished picture."""
        if answer.mean is None:
            self._receiver.take_finished(answer)
        else:
            self._write(tile[0].kept, tile[1].kept, answer.levels, answer.mean)

    def count(self) -> None:
        """A tile is complete. Hands its rows on as soon as all of them are, and keeps nothing of them."""
        self._left -= 1
        if self._left:
            return
        first, levels, mean = self._rows[0].start, self._levels, self._mean
        self._next()
        if len(mean):
            self._receiver.take(first, levels, mean)

    def _write(self, rows: slice, columns: slice, levels: Pixels, mean: Floats) -> None:
        scale, first = self._scale, self._rows[0].start
        if not len(self._mean):
            height, width = self._rows[-1].stop - first, self._plan.width
            self._levels = np.empty((height * scale, width * scale, 3), np.uint16)
            self._mean = np.empty((height, width, 3), np.float32)
        top, bottom, left, right = rows.start - first, rows.stop - first, columns.start, columns.stop
        self._mean[top:bottom, left:right] = mean
        self._levels[top * scale : bottom * scale, left * scale : right * scale] = levels


def run_tiles(
    loaded: LoadedNetwork, planner: TilePlanner, source: NetworkInput, receiver: Receiver
) -> Enlarged:
    """``source`` through the network in this thread, some rows of tiles at a time.

    Out of memory halves the batch, then the tile's edge, and begins anew; ``planner`` remembers both. Raises
    ``OutOfMemory`` where the smallest tile does not fit, and ``InferenceError``.
    """
    height, width, _ = source.shape
    network = loaded.network
    attempt = planner.first(width, height)
    while True:
        network.take_retries()  # what an abandoned picture left
        picture, seconds = Picture(receiver, network.scale, attempt), 0.0
        try:
            for rows in row_groups(attempt):
                for tiles in batches(tiles_of(attempt.plan, rows), attempt.batch, lambda tile: tile):
                    begin = time.perf_counter()
                    _compute(network, source, tiles, picture)
                    seconds += time.perf_counter() - begin
                    for _ in tiles:
                        picture.count()
        except OutOfMemory as exc:
            failure = exc
        else:
            plan, batch, retries = attempt.plan, attempt.batch, attempt.oom_retries
            return Enlarged(plan, batch, retries, network.take_retries(), seconds)
        network.release_cached_memory()
        attempt = planner.after(attempt, failure)


def _compute(network: Network, source: NetworkInput, tiles: Sequence[Tile], picture: Picture) -> None:
    """Some tiles with windows of one shape."""
    windows = np.stack([source[row.window, column.window] for row, column in tiles])
    height, width, _ = source.shape
    # A halo may reach over the whole picture where its tile does not.
    alone = [(row.kept, column.kept) for row, column in tiles] == [(slice(0, height), slice(0, width))]
    for strip in network.strips(windows):
        if strip.whole is not None and alone:
            picture.keep_whole(*(part[0] for part in strip.whole))
            continue
        for index, tile in enumerate(tiles):
            picture.keep_strip(tile, strip, index)


def row_groups(attempt: Attempt) -> list[tuple[Span, ...]]:
    """The rows of tiles that are in memory at once: one, or enough to fill a batch twice."""
    rows, batch = attempt.plan.rows, attempt.batch
    count = 1 if batch == 1 else -(-2 * batch // len(attempt.plan.columns))
    return [rows[first : first + count] for first in range(0, len(rows), count)]


def tiles_of(plan: TilePlan, rows: Sequence[Span] | None = None) -> list[Tile]:
    """Those in ``rows``, or all."""
    return [(row, column) for row in (plan.rows if rows is None else rows) for column in plan.columns]


def batches(items: Sequence[T], batch: int, tile: Callable[[T], Tile]) -> Iterator[list[T]]:
    """At most ``batch`` with windows of one shape at a time; ``tile`` of an item."""
    by_shape: dict[tuple[int, int], list[T]] = {}
    for item in items:
        row, column = tile(item)
        by_shape.setdefault((row.window_px, column.window_px), []).append(item)
    for same in by_shape.values():
        for start in range(0, len(same), batch):
            yield same[start : start + batch]
