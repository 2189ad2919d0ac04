"""A network over all tiles of pictures: batches, and what is done when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from imgpipe.errors import OutOfMemory
from imgpipe.upscaling.network import Floats, LoadedNetwork, Native, Network, Strip
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tiling import Span, TilePlan

Tile = tuple[Span, Span]

#: What a network made of a picture's rows from one on: (that row, levels (rows * scale, w * scale, 3) uint16
#: RGB, mean (rows, w, 3) float32 in 0..1, the levels reduced to the source's size with an area filter).
#: Called from top to bottom; row 0 begins anew where something had to be done again.
Take = Callable[[int, Native, Floats], None]


@dataclass(frozen=True, slots=True, eq=False)
class Enlarged:
    """How a network enlarged one picture. ``seconds``: the picture's share of the network's time."""

    plan: TilePlan
    batch: int
    oom_retries: int
    fp32_retries: int
    seconds: float


@dataclass(slots=True, eq=False)
class Picture:
    """What is to be enlarged, and who takes it; beside that, the tile rows that are under way."""

    source: NetworkInput
    take: Take
    first: int = 0
    levels: Native = field(default_factory=lambda: np.empty((0, 0, 3), np.uint16))
    mean: Floats = field(default_factory=lambda: np.empty((0, 0, 3), np.float32))
    fp32_retries: int = 0
    seconds: float = 0.0

    def begin(self, rows: Sequence[Span], scale: int) -> None:
        """Make room for what comes of tiles in ``rows``."""
        self.first = rows[0].start
        height, width = rows[-1].stop - self.first, self.source.shape[1]
        self.levels = np.empty((height * scale, width * scale, 3), np.uint16)
        self.mean = np.empty((height, width, 3), np.float32)

    def give(self) -> None:
        """Hand the rows on, and keep nothing of them."""
        levels, mean = self.levels, self.mean
        self.levels, self.mean = levels[:0], mean[:0]
        self.take(self.first, levels, mean)


def run_tiles(
    loaded: LoadedNetwork, planner: TilePlanner, source: NetworkInput, take: Take, *, oom_retries: int = 0
) -> Enlarged:
    """``source`` through the network, some rows of tiles at a time.

    Out of memory halves the batch, then the tile's edge, and begins anew; ``planner`` remembers both.
    ``oom_retries``: how often it ran out for this picture before. Raises ``OutOfMemory`` where the smallest
    tile does not fit, and ``InferenceError``.
    """
    height, width, _ = source.shape
    plan = planner.plan(width, height)
    batch = planner.batch(plan)
    while True:
        picture = Picture(source, take)
        loaded.network.take_retries()  # what an abandoned picture left
        try:
            for rows in row_groups(plan, batch):
                picture.begin(rows, loaded.network.scale)
                for _ in _run(loaded.network, [picture], [rows], [plan], batch):
                    picture.give()
        except OutOfMemory as exc:
            failure = exc
        else:
            return Enlarged(plan, batch, oom_retries, picture.fp32_retries, picture.seconds)
        loaded.network.release_cached_memory()
        if batch > 1:
            batch = planner.smaller_batch(batch)
        else:
            plan = planner.smaller(plan, failure)
            batch = planner.batch(plan)
        oom_retries += 1


def run_together(
    loaded: LoadedNetwork, planner: TilePlanner, pictures: Sequence[Picture]
) -> Iterator[tuple[int, Enlarged]]:
    """(index, how it was enlarged) of several pictures, each as soon as all its tiles are there.

    Windows of one shape are computed at once, whichever picture they are of; what a picture becomes does
    not depend on its company. Those that do not come are to be run one by one: any whose tiles are in
    memory in several parts, all where ``planner`` leaves no room for more than one window. Raises
    ``OutOfMemory`` and ``InferenceError``, which may be any picture's.
    """
    plans = [planner.plan(picture.source.shape[1], picture.source.shape[0]) for picture in pictures]
    batch = min(planner.batch(plan) for plan in plans)
    small = [index for index, plan in enumerate(plans) if len(row_groups(plan, batch)) == 1]
    if batch == 1 or len(small) < 2:
        return
    scale = loaded.network.scale
    own, plans = [pictures[index] for index in small], [plans[index] for index in small]
    for picture, plan in zip(own, plans, strict=True):
        picture.begin(plan.rows, scale)
    loaded.network.take_retries()
    try:
        for at in _run(loaded.network, own, [plan.rows for plan in plans], plans, batch):
            picture = own[at]
            picture.give()
            yield small[at], Enlarged(plans[at], batch, 0, picture.fp32_retries, picture.seconds)
    except OutOfMemory:
        loaded.network.release_cached_memory()
        planner.smaller_batch(batch)
        raise


def row_groups(plan: TilePlan, batch: int) -> list[tuple[Span, ...]]:
    """The rows of tiles that are in memory at once: one, or enough to fill ``batch`` twice."""
    count = 1 if batch == 1 else -(-2 * batch // len(plan.columns))
    return [plan.rows[first : first + count] for first in range(0, len(plan.rows), count)]


def _run(
    network: Network,
    pictures: Sequence[Picture],
    rows: Sequence[Sequence[Span]],
    plans: Sequence[TilePlan],
    batch: int,
) -> Iterator[int]:
    """The index of each picture as soon as all tiles in its ``rows`` are there."""
    left = [len(own) * len(plan.columns) for own, plan in zip(rows, plans, strict=True)]
    tiles = [
        [(row, column) for row in own for column in plan.columns]
        for own, plan in zip(rows, plans, strict=True)
    ]
    for parts in _batches(tiles, batch):
        begin = time.perf_counter()
        _compute(network, [(pictures[index], tile) for index, tile in parts])
        each = (time.perf_counter() - begin) / len(parts)
        for index, _ in parts:
            pictures[index].seconds += each
            left[index] -= 1
            if left[index] == 0:
                yield index


def _compute(network: Network, parts: Sequence[tuple[Picture, Tile]]) -> None:
    """Some tiles with windows of one shape into their pictures."""
    windows = np.stack([picture.source[row.window, column.window] for picture, (row, column) in parts])
    for strip in network.strips(windows):
        first, *others = (picture for picture, _ in parts)
        if strip.whole is not None and not others and windows.shape[1:] == first.source.shape:
            first.levels, first.mean = (part[0] for part in strip.whole)
            continue
        for index, (picture, tile) in enumerate(parts):
            _keep(strip, index, tile, network.scale, picture)
    again = network.take_retries()
    if not again:
        return
    of_each: dict[int, list[tuple[Picture, Tile]]] = {}
    for part in parts:
        of_each.setdefault(id(part[0]), []).append(part)
    if len(of_each) == 1:
        parts[0][0].fp32_retries += again
        return
    for own in of_each.values():  # what is not finite in one picture changes no other
        _compute(network, own)


def _keep(strip: Strip, index: int, tile: Tile, scale: int, picture: Picture) -> None:
    """Write the part of a strip that belongs to its tile, and not to the halo."""
    row, column = tile
    offset = row.window_start + strip.start  # of the strip's first row in the picture
    first = max(row.start, offset)
    last = min(row.stop, offset + strip.mean.shape[1])
    if first >= last:
        return
    there = slice(first - picture.first, last - picture.first)
    inside = column.core(1)
    picture.mean[there, column.kept] = strip.mean[index, first - offset : last - offset, inside]
    picture.levels[there.start * scale : there.stop * scale, column.start * scale : column.stop * scale] = (
        strip.levels[index, (first - offset) * scale : (last - offset) * scale, column.core(scale)]
    )


def _batches(tiles: Sequence[Sequence[Tile]], batch: int) -> Iterator[list[tuple[int, Tile]]]:
    """All tiles with the index of their picture, at most ``batch`` with windows of one shape at a time."""
    by_shape: dict[tuple[int, int], list[tuple[int, Tile]]] = {}
    for index, own in enumerate(tiles):
        for row, column in own:
            by_shape.setdefault((row.window_px, column.window_px), []).append((index, (row, column)))
    for same in by_shape.values():
        for start in range(0, len(same), batch):
            yield same[start : start + batch]
