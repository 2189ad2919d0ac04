"""Exact tiles: where a picture is cut so that a convolutional network cannot tell.

A network without global operations computes an output pixel from the source pixels within its receptive
field. A tile is therefore computed on a *window*: the tile plus a halo of at least that many source px
of real context, which is thrown away afterwards. At the picture's own border the window simply ends,
so that the network pads there exactly as it does for the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

#: The smallest tile edge that is tried before giving up, source px.
SMALLEST_TILE_PX = 32


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, source px: ``start..stop`` is kept, ``window_start..window_stop`` computed."""

    start: int
    stop: int
    window_start: int
    window_stop: int

    @property
    def window(self) -> slice:
        return slice(self.window_start, self.window_stop)

    @property
    def kept(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def window_px(self) -> int:
        return self.window_stop - self.window_start

    def core(self, scale: int) -> slice:
        """The kept part inside the window's output, px of a network that enlarges by ``scale``."""
        return slice((self.start - self.window_start) * scale, (self.stop - self.window_start) * scale)


@dataclass(frozen=True, slots=True)
class TilePlan:
    """A grid of tiles over a picture of ``width`` x ``height`` source px."""

    width: int
    height: int
    columns: tuple[Span, ...]
    rows: tuple[Span, ...]

    @property
    def xs(self) -> tuple[int, ...]:
        """Interior vertical cuts, source px; empty where the picture is not cut."""
        return tuple(span.start for span in self.columns[1:])

    @property
    def ys(self) -> tuple[int, ...]:
        """Interior horizontal cuts, source px."""
        return tuple(span.start for span in self.rows[1:])

    @property
    def count(self) -> int:
        """Tiles."""
        return len(self.columns) * len(self.rows)

    @property
    def largest_tile_px(self) -> int:
        """Longest edge of a tile without its halo."""
        return max(span.stop - span.start for span in (*self.columns, *self.rows))

    @property
    def largest_window_pixels(self) -> int:
        """Pixels of the largest window: what memory must hold at once."""
        return max(s.window_px for s in self.columns) * max(s.window_px for s in self.rows)

    @property
    def computed_pixels(self) -> int:
        """Source pixels that the network computes in all, halos counted."""
        return sum(s.window_px for s in self.columns) * sum(s.window_px for s in self.rows)


def plan_tiles(width: int, height: int, tile_px: int, halo_px: int, *, multiple_of: int = 1) -> TilePlan:
    """Cut ``width`` x ``height`` source px into tiles of at most ``tile_px``; 0 leaves it whole.

    Tiles are balanced (640 px at 512 become 2 x 320, not 512 + 128): the same number of tiles with fewer
    different shapes. ``multiple_of``: windows begin and end on multiples of it, as networks with window
    attention or pixel-unshuffle need; ``tile_px`` is then rounded up to one. Raises ``ValueError`` for
    sizes below 1 or negative tiles and halos.
    """
    if min(width, height, multiple_of) < 1 or min(tile_px, halo_px) < 0:
        raise ValueError(
            f"expected sizes and multiple_of >= 1, tile and halo >= 0, got {width} x {height}, "
            f"multiple_of {multiple_of}, tile {tile_px}, halo {halo_px}"
        )
    return TilePlan(
        width,
        height,
        _cut(width, tile_px, halo_px, multiple_of),
        _cut(height, tile_px, halo_px, multiple_of),
    )


def plan_within(
    width: int, height: int, halo_px: int, largest_window_pixels: int, *, multiple_of: int = 1
) -> TilePlan:
    """The cheapest grid whose windows stay within ``largest_window_pixels``; whole where that fits.

    Cheapest means least computed pixels, that is the least halo. Where not even the smallest tile fits,
    the grid of smallest tiles is returned: whether it runs is found out by running it.
    """
    best: TilePlan | None = None
    for tile_px in _tile_candidates(max(width, height)):
        plan = plan_tiles(width, height, tile_px, halo_px, multiple_of=multiple_of)
        if plan.largest_window_pixels > largest_window_pixels:
            continue
        if best is None or plan.computed_pixels < best.computed_pixels:
            best = plan
    if best is not None:
        return best
    return plan_tiles(width, height, SMALLEST_TILE_PX, halo_px, multiple_of=multiple_of)


def _tile_candidates(longest_side: int) -> list[int]:
    """0, then the edges that cut the longest side into 2, 3, 4 ... pieces, down to the smallest tile."""
    edges = {
        -(-longest_side // pieces)
        for pieces in range(2, max(2, longest_side // SMALLEST_TILE_PX) + 1)
        if -(-longest_side // pieces) >= SMALLEST_TILE_PX
    }
    return [0, *sorted(edges, reverse=True)]


def _cut(length: int, tile_px: int, halo_px: int, multiple_of: int) -> tuple[Span, ...]:
    if tile_px == 0 or tile_px >= length:
        return (Span(0, length, 0, length),)
    pieces = -(-length // tile_px)
    cuts = [round(i * length / pieces / multiple_of) * multiple_of for i in range(pieces)]
    bounds = [*dict.fromkeys(cuts), length]
    return tuple(
        Span(
            start,
            stop,
            max(0, (start - halo_px) // multiple_of * multiple_of),
            min(length, -(-(stop + halo_px) // multiple_of) * multiple_of),
        )
        for start, stop in pairwise(bounds)
    )
