"""A network over all tiles of pictures: batches, and what is done when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imgpipe.errors import OutOfMemory
from imgpipe.upscaling.network import Floats, LoadedNetwork, Native, Network, Strip
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tiling import Span, TilePlan

Tile = tuple[Span, Span]


@dataclass(frozen=True, slots=True, eq=False)
class Enlarged:
    """What the network made of one picture.

    ``levels``: (h * scale, w * scale, 3) uint16 RGB. ``mean``: (h, w, 3) float32 in 0..1, ``levels`` reduced
    to the source's size with an area filter. ``seconds``: the picture's share of the network's time.
    """

    levels: Native
    mean: Floats
    plan: TilePlan
    batch: int
    oom_retries: int
    fp32_retries: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Picture:
    """One of which not all tiles may be there yet."""

    colour: Floats
    plan: TilePlan
    levels: Native
    mean: Floats
    tiles_left: int
    fp32_retries: int = 0
    seconds: float = 0.0


def run_tiles(
    loaded: LoadedNetwork, planner: TilePlanner, colour: Floats, *, oom_retries: int = 0
) -> Enlarged:
    """``colour`` (h, w, 3) float32 RGB in 0..1 through the network.

    Out of memory halves the batch, then the tile's edge, and goes on; ``planner`` remembers both.
    ``oom_retries``: how often it ran out for this picture before. Raises ``OutOfMemory`` where the smallest
    tile does not fit, and ``InferenceError``.
    """
    height, width, _ = colour.shape
    plan = planner.plan(width, height)
    batch = planner.batch(plan)
    while True:
        try:
            ((_, enlarged),) = _run(loaded, [colour], [plan], batch, oom_retries)
        except OutOfMemory as exc:
            failure = exc
        else:
            return enlarged
        loaded.network.release_cached_memory()
        if batch > 1:
            batch = planner.smaller_batch(batch)
        else:
            plan = planner.smaller(plan, failure)
            batch = planner.batch(plan)
        oom_retries += 1


def run_together(
    loaded: LoadedNetwork, planner: TilePlanner, colours: Sequence[Floats]
) -> Iterator[tuple[int, Enlarged]]:
    """(index, what the network made of it) of several pictures, each as soon as all its tiles are there.

    Windows of one shape are computed at once, whichever picture they are of; what a picture becomes does
    not depend on its company. Nothing comes where ``planner`` leaves no room for more than one window.
    Raises ``OutOfMemory`` and ``InferenceError``, which may be any picture's: those that have not come
    are then to be run one by one.
    """
    plans = [planner.plan(colour.shape[1], colour.shape[0]) for colour in colours]
    batch = min(planner.batch(plan) for plan in plans)
    if batch == 1:
        return
    try:
        yield from _run(loaded, colours, plans, batch, 0)
    except OutOfMemory:
        loaded.network.release_cached_memory()
        planner.smaller_batch(batch)
        raise


def _run(
    loaded: LoadedNetwork, colours: Sequence[Floats], plans: Sequence[TilePlan], batch: int, oom_retries: int
) -> Iterator[tuple[int, Enlarged]]:
    scale = loaded.network.scale
    pictures = []
    for colour, plan in zip(colours, plans, strict=True):
        height, width, channels = colour.shape
        levels = np.empty((height * scale, width * scale, channels), np.uint16)
        count = len(plan.rows) * len(plan.columns)
        pictures.append(_Picture(colour, plan, levels, np.empty_like(colour), count))
    loaded.network.take_retries()  # what an abandoned picture left
    for parts in _batches(plans, batch):
        begin = time.perf_counter()
        _compute(loaded.network, [(pictures[index], tile) for index, tile in parts])
        each = (time.perf_counter() - begin) / len(parts)
        for index, _ in parts:
            picture = pictures[index]
            picture.seconds += each
            picture.tiles_left -= 1
            if picture.tiles_left == 0:
                yield (
                    index,
                    Enlarged(
                        picture.levels,
                        picture.mean,
                        picture.plan,
                        batch,
                        oom_retries,
                        picture.fp32_retries,
                        picture.seconds,
                    ),
                )


def _compute(network: Network, parts: Sequence[tuple[_Picture, Tile]]) -> None:
    """Some tiles with windows of one shape into their pictures."""
    windows = np.stack([picture.colour[row.window, column.window] for picture, (row, column) in parts])
    for strip in network.strips(windows):
        first, *others = (picture for picture, _ in parts)
        if strip.whole is not None and not others and windows.shape[1:] == first.colour.shape:
            first.levels, first.mean = (part[0] for part in strip.whole)
            continue
        for index, (picture, tile) in enumerate(parts):
            _keep(strip, index, tile, network.scale, picture)
    again = network.take_retries()
    if not again:
        return
    of_each: dict[int, list[tuple[_Picture, Tile]]] = {}
    for part in parts:
        of_each.setdefault(id(part[0]), []).append(part)
    if len(of_each) == 1:
        parts[0][0].fp32_retries += again
        return
    for own in of_each.values():  # what is not finite in one picture changes no other
        _compute(network, own)


def _keep(strip: Strip, index: int, tile: Tile, scale: int, picture: _Picture) -> None:
    """Write the part of a strip that belongs to its tile, and not to the halo."""
    row, column = tile
    offset = row.window_start + strip.start  # of the strip's first row in the picture
    first = max(row.start, offset)
    last = min(row.stop, offset + strip.mean.shape[1])
    if first >= last:
        return
    inside = column.core(1)
    picture.mean[first:last, column.kept] = strip.mean[index, first - offset : last - offset, inside]
    picture.levels[first * scale : last * scale, column.start * scale : column.stop * scale] = strip.levels[
        index, (first - offset) * scale : (last - offset) * scale, column.core(scale)
    ]


def _batches(plans: Sequence[TilePlan], batch: int) -> Iterator[list[tuple[int, Tile]]]:
    """All tiles with the index of their plan, at most ``batch`` with windows of one shape at a time."""
    by_shape: dict[tuple[int, int], list[tuple[int, Tile]]] = {}
    for index, plan in enumerate(plans):
        for row, column in plan.tiles():
            by_shape.setdefault((row.window_px, column.window_px), []).append((index, (row, column)))
    for tiles in by_shape.values():
        for start in range(0, len(tiles), batch):
            yield tiles[start : start + batch]
