"""A network over all tiles of a picture: batches, and what is done when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imgpipe.errors import OutOfMemory
from imgpipe.inference.tiling import Span, TilePlan
from imgpipe.upscaling.network import Floats, LoadedNetwork, Native, Strip
from imgpipe.upscaling.tile_planner import TilePlanner

Tile = tuple[Span, Span]


@dataclass(frozen=True, slots=True, eq=False)
class Enlarged:
    """What the network made of one picture.

    ``levels``: (h * scale, w * scale, 3) uint16 RGB. ``mean``: (h, w, 3) float32 in 0..1, ``levels`` reduced
    to the source's size with an area filter.
    """

    levels: Native
    mean: Floats
    plan: TilePlan
    batch: int
    oom_retries: int
    fp32_retries: int


def run_tiles(loaded: LoadedNetwork, planner: TilePlanner, colour: Floats) -> Enlarged:
    """``colour`` (h, w, 3) float32 RGB in 0..1 through the network.

    Out of memory halves the batch, then the tile's edge, and goes on; ``planner`` remembers both. Raises
    ``OutOfMemory`` where the smallest tile does not fit, and ``InferenceError``.
    """
    height, width, _ = colour.shape
    plan = planner.plan(width, height)
    batch = planner.batch(plan)
    retries = 0
    loaded.network.take_retries()  # what an abandoned picture left
    while True:
        try:
            levels, mean = _run(loaded, colour, plan, batch)
        except OutOfMemory as exc:
            failure = exc
        else:
            again = loaded.network.take_retries()
            return Enlarged(levels, mean, plan, batch, retries, again)
        loaded.network.release_cached_memory()
        loaded.network.take_retries()
        if batch > 1:
            batch = planner.smaller_batch(batch)
        else:
            plan = planner.smaller(plan, failure)
            batch = planner.batch(plan)
        retries += 1


def _run(loaded: LoadedNetwork, colour: Floats, plan: TilePlan, batch: int) -> tuple[Native, Floats]:
    scale = loaded.network.scale
    height, width, channels = colour.shape
    levels = np.empty((height * scale, width * scale, channels), np.uint16)
    mean = np.empty_like(colour)
    for tiles in _batches(plan, batch):
        windows = np.stack([colour[row.window, column.window] for row, column in tiles])
        for strip in loaded.network.strips(windows):
            if strip.whole is not None and windows.shape[:3] == (1, height, width):
                levels, mean = (part[0] for part in strip.whole)
                continue
            for index, tile in enumerate(tiles):
                _keep(strip, index, tile, scale, levels, mean)
    return levels, mean


def _keep(strip: Strip, index: int, tile: Tile, scale: int, levels: Native, mean: Floats) -> None:
    """Write the part of a strip that belongs to its tile, and not to the halo."""
    row, column = tile
    offset = row.window_start + strip.start  # of the strip's first row in the picture
    first = max(row.start, offset)
    last = min(row.stop, offset + strip.mean.shape[1])
    if first >= last:
        return
    inside = column.core(1)
    mean[first:last, column.kept] = strip.mean[index, first - offset : last - offset, inside]
    levels[first * scale : last * scale, column.start * scale : column.stop * scale] = strip.levels[
        index, (first - offset) * scale : (last - offset) * scale, column.core(scale)
    ]


def _batches(plan: TilePlan, batch: int) -> Iterator[list[Tile]]:
    """All tiles, at most ``batch`` with windows of one shape at a time."""
    by_shape: dict[tuple[int, int], list[Tile]] = {}
    for row, column in plan.tiles():
        by_shape.setdefault((row.window_px, column.window_px), []).append((row, column))
    for tiles in by_shape.values():
        for start in range(0, len(tiles), batch):
            yield tiles[start : start + batch]
