"""What goes wrong with results, planted on purpose: every kind in three strengths, seeded.

Used by the tests and by ``benchmarks/quality.py --defects``. Picture defects change an enlarged result,
matte defects the alpha of a cutout. A defect that could not be seen where it would be planted (a black
tile in a black sky, a tile's neighbour that looks the same) is planted elsewhere, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np

from imgpipe.images.colour import luma
from imgpipe.records import TileGrid
from imgpipe_tests.opencv_files import opencv_decode
from imgpipe_tests.quality.drawings import F32, U8, area, clip8, draw

T = TypeVar("T")
#: Borders of the tiles of the result, px: (columns, rows), the picture's own included.
Cuts = tuple[Sequence[int], Sequence[int]]
Plant = Callable[[F32, float, Cuts, np.random.Generator], F32 | None]

EVERYTHING = slice(None)
#: Mean differences below these would not be seen, 1/255.
_VISIBLE_TILE, _VISIBLE_LIGHT, _VISIBLE_COLOUR = 8.0, 32.0, 4.0
_DEFAULT_CUTS = 3


@dataclass(frozen=True, slots=True)
class Defect:
    """``strengths`` from slight to gross in ``unit``; ``plant`` gives ``None`` where nothing would show."""

    plant: Plant
    strengths: tuple[float, float, float]
    unit: str


def plant(name: str, pixels: U8, level: int = 1, *, grid: TileGrid | None = None, seed: int = 0) -> U8 | None:
    """``pixels`` (height, width, 3) with one kind of :data:`DEFECTS` at strength ``level`` 0..2.

    ``grid``: the tiles that tile defects keep to; thirds of the picture without one.
    """
    defect = DEFECTS[name]
    height, width = pixels.shape[:2]
    if grid is None:
        cuts = [[side * n // _DEFAULT_CUTS for n in range(_DEFAULT_CUTS + 1)] for side in (width, height)]
    else:
        cuts = [
            [0, *(round(cut * grid.scale) for cut in found), side]
            for found, side in ((grid.xs, width), (grid.ys, height))
        ]
    rng = np.random.default_rng([seed, level])
    damaged = defect.plant(pixels.astype(np.float32), defect.strengths[level], (cuts[0], cuts[1]), rng)
    return None if damaged is None else clip8(damaged)


def plant_seam(pixels: U8, at: int, levels: float, *, vertical: bool = False, span: slice = EVERYTHING) -> U8:
    """A 2 px line of ``levels`` added along row (or column) ``at``, over ``span`` of it."""
    x = pixels.astype(np.float32)
    if vertical:
        x[span, at - 1 : at + 1] += levels
    else:
        x[at - 1 : at + 1, span] += levels
    return clip8(x)


def plant_step(pixels: U8, at: int, levels: float) -> U8:
    """Everything below row ``at`` brighter by ``levels``."""
    x = pixels.astype(np.float32)
    x[at:] += levels
    return clip8(x)


def tiles_of(cuts: Cuts) -> list[tuple[slice, slice]]:
    """(rows, columns) of every tile, in scan order."""
    columns, rows = cuts
    return [(slice(*down), slice(*across)) for down in pairwise(rows) for across in pairwise(columns)]


# ---------------------------------------------------------------- seams and tiles


def _seam(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    columns, rows = (side[1:-1] for side in cuts)
    if columns and (not rows or rng.random() < 0.5):
        at = int(rng.choice(columns))
        x[:, at - 1 : at + 1] += _sign(rng) * levels
    else:
        at = int(rng.choice(rows))
        x[at - 1 : at + 1] += _sign(rng) * levels
    return x


def _tile_seam(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    """Along one side of one tile that it shares with another."""
    columns, rows = cuts
    at = int(rng.choice(rows[1:-1]))
    left = int(rng.integers(0, len(columns) - 1))
    x[at - 1 : at + 1, columns[left] : columns[left + 1]] += _sign(rng) * levels
    return x


def _tile_brightness(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    x[_any_tile(cuts, rng)] += _sign(rng) * levels
    return x


def _step(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    x[int(rng.choice(cuts[1][1:-1])) :] += _sign(rng) * levels
    return x


def _tile_shift(x: F32, px: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    part = x[_any_tile(cuts, rng)]
    part[:] = _moved_right(part, int(px))
    return x


def _black_tile(x: F32, share: float, cuts: Cuts, rng: np.random.Generator) -> F32 | None:
    for tile in _shuffled(tiles_of(cuts), rng):
        part = _corner(x[tile], share)
        if part.mean() > _VISIBLE_LIGHT:
            part[:] = 0
            return x
    return None


def _duplicated_tile(x: F32, share: float, cuts: Cuts, rng: np.random.Generator) -> F32 | None:
    """A tile holds what the one before it in scan order holds: its own content was never written."""
    tiles = tiles_of(cuts)
    for n in _shuffled(list(range(1, len(tiles))), rng):
        part, before = _corner(x[tiles[n]], share), _corner(x[tiles[n - 1]], share)
        height, width = (min(a, b) for a, b in zip(part.shape[:2], before.shape[:2], strict=True))
        part, before = part[:height, :width], before[:height, :width].copy()
        if np.abs(part - before).mean() > _VISIBLE_TILE:
            part[:] = before
            return x
    return None


def _channel_swap(x: F32, share: float, cuts: Cuts, rng: np.random.Generator) -> F32 | None:
    """Red and blue of one tile, of the left half, of everything."""
    parts: list[F32] = [x[tile] for tile in _shuffled(tiles_of(cuts), rng)] if share < 0.5 else []
    parts = parts or [x[:, : max(1, round(share * x.shape[1]))]]
    for part in parts:
        if np.abs(part[..., 0] - part[..., 2]).mean() > _VISIBLE_COLOUR:
            part[:] = part[..., ::-1].copy()
            return x
    return None


# ---------------------------------------------------------------- the whole picture


def _colour_shift(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    x[..., int(rng.integers(3))] += _sign(rng) * levels
    return x


def _gamma(x: F32, exponent: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return 255 * (x / 255) ** exponent


def _shift(x: F32, px: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return _moved_right(x, int(px))


def _moved_right(x: F32, px: int) -> F32:
    """The border's pixels fill what becomes free."""
    moved = np.roll(x, px, axis=1)
    moved[:, :px] = x[:, :1]
    return moved


def _blur(x: F32, sigma_px: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return cv2.GaussianBlur(x, (0, 0), sigma_px).reshape(x.shape)


def _ringing(x: F32, amount: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return x + amount * (x - cv2.GaussianBlur(x, (0, 0), 5))


def _banding(x: F32, step: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return np.floor(x / step) * step + step / 2


def _jpeg(x: F32, quality: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    done, data = cv2.imencode(".jpg", clip8(x), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    assert done
    return opencv_decode(data).astype(np.float32)


def _noise(x: F32, sigma: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    return x + rng.normal(0, sigma, x.shape).astype(np.float32)


def _halo(x: F32, levels: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    """A bright band of 9 px along every strong edge."""
    grey = cv2.cvtColor(clip8(x), cv2.COLOR_RGB2GRAY)
    x[cv2.dilate(cv2.Canny(grey, 60, 120), np.ones((9, 9), np.uint8)) > 0] += levels
    return x


def _nearest(x: F32, factor: float, cuts: Cuts, rng: np.random.Generator) -> F32:
    n = int(factor)
    x[: x.shape[0] // n * n, : x.shape[1] // n * n] = np.repeat(np.repeat(area(clip8(x), n), n, 0), n, 1)
    return x


# ---------------------------------------------------------------- patches


def _erased_patch(x: F32, side: float, cuts: Cuts, rng: np.random.Generator) -> F32 | None:
    for part in _patches(x, int(side), rng):
        if part.std(axis=(0, 1)).max() > _VISIBLE_TILE:
            part[:] = part.mean(axis=(0, 1))
            return x
    return None


def _blurred_patch(x: F32, side: float, cuts: Cuts, rng: np.random.Generator) -> F32 | None:
    for part in _patches(x, int(side), rng):
        blurred = cv2.GaussianBlur(part, (0, 0), 8)
        if np.abs(blurred - part).mean() > _VISIBLE_TILE / 4:
            part[:] = blurred
            return x
    return None


def _patches(x: F32, side: int, rng: np.random.Generator) -> Iterator[F32]:
    """Thirty random squares of ``side`` px, as views."""
    side = min(side, *x.shape[:2])
    for _ in range(30):
        top, left = (int(rng.integers(0, full - side + 1)) for full in x.shape[:2])
        yield x[top : top + side, left : left + side]


def _corner(part: F32, share: float) -> F32:
    """The view of a tile's top left that holds ``share`` of each of its sides."""
    return part[: max(1, round(part.shape[0] * share)), : max(1, round(part.shape[1] * share))]


def _any_tile(cuts: Cuts, rng: np.random.Generator) -> tuple[slice, slice]:
    tiles = tiles_of(cuts)
    return tiles[int(rng.integers(len(tiles)))]


def _shuffled(values: list[T], rng: np.random.Generator) -> list[T]:
    return [values[int(n)] for n in rng.permutation(len(values))]


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


DEFECTS: Mapping[str, Defect] = {
    "seam": Defect(_seam, (2, 4, 8), "levels"),
    "tile_seam": Defect(_tile_seam, (2, 4, 8), "levels"),
    "tile_brightness": Defect(_tile_brightness, (2, 4, 8), "levels"),
    "step": Defect(_step, (1, 2, 4), "levels"),
    "tile_shift": Defect(_tile_shift, (2, 4, 8), "px"),
    "black_tile": Defect(_black_tile, (0.25, 0.5, 1.0), "of its sides"),
    "duplicated_tile": Defect(_duplicated_tile, (0.25, 0.5, 1.0), "of its sides"),
    "channel_swap": Defect(_channel_swap, (0.0, 0.5, 1.0), "of the width, 0 = a tile"),
    "colour_shift": Defect(_colour_shift, (1.5, 3, 6), "levels"),
    "gamma": Defect(_gamma, (1.04, 1.08, 1.16), "exponent"),
    "shift": Defect(_shift, (1, 2, 4), "px"),
    "blur": Defect(_blur, (2, 4, 8), "px sigma"),
    "ringing": Defect(_ringing, (1, 2, 4), "times"),
    "banding": Defect(_banding, (8, 16, 32), "levels"),
    "jpeg": Defect(_jpeg, (60, 30, 15), "quality"),
    "noise": Defect(_noise, (8, 16, 32), "levels sigma"),
    "halo": Defect(_halo, (12, 25, 50), "levels"),
    "erased_patch": Defect(_erased_patch, (32, 64, 128), "px"),
    "blurred_patch": Defect(_blurred_patch, (64, 128, 256), "px"),
    "nearest": Defect(_nearest, (2, 3, 4), "px blocks"),
}


# ---------------------------------------------------------------- mattes


@dataclass(frozen=True, slots=True)
class MatteDefect:
    """``plant``: (alpha (height, width) uint8, strength in px of the source) -> alpha."""

    plant: Callable[[U8, float], U8]
    strengths: tuple[float, float, float]


def _disc(radius: float) -> U8:
    size = 2 * int(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _eroded_hair(alpha: U8, radius: float) -> U8:
    """Everything thinner than the disc is gone: strands, fingers, tips."""
    return cv2.morphologyEx(alpha, cv2.MORPH_OPEN, _disc(radius)).astype(np.uint8)


def _eroded(alpha: U8, radius: float) -> U8:
    return cv2.erode(alpha, _disc(radius)).astype(np.uint8)


def _fringe(alpha: U8, radius: float) -> U8:
    """The matte is too wide: a rim of the background comes along."""
    return cv2.dilate(alpha, _disc(radius)).astype(np.uint8)


def _specks(alpha: U8, count: float) -> U8:
    damaged = alpha.copy()
    rng = np.random.default_rng(int(count))
    for _ in range(int(count)):
        y, x = (int(rng.integers(6, side - 6)) for side in alpha.shape)
        cv2.circle(damaged, (x, y), 6, 255, -1)
    return damaged


def _blurred_matte(alpha: U8, sigma: float) -> U8:
    return cv2.GaussianBlur(alpha, (0, 0), sigma).astype(np.uint8)


MATTE_DEFECTS: Mapping[str, MatteDefect] = {
    "eroded_hair": MatteDefect(_eroded_hair, (4, 8, 16)),
    "eroded_matte": MatteDefect(_eroded, (4, 6, 8)),
    "fringe": MatteDefect(_fringe, (2, 4, 8)),
    "specks": MatteDefect(_specks, (10, 20, 40)),
    "blurred_matte": MatteDefect(_blurred_matte, (8, 16, 32)),
}


def damaged_luma(name: str, width: int = 96, height: int = 72) -> tuple[F32, F32]:
    """Luma of a drawing and of the same with the defect ``name`` in it, on 0..255."""
    picture = draw(5, width, height, 4)
    damaged = plant(name, picture)
    assert damaged is not None
    return luma(picture.astype(np.float32)), luma(damaged.astype(np.float32))
