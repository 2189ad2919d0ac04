"""Tiles cover the picture once, see real context, and never more than memory holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgpipe.upscaling.tile_runner import tiles_of
from imgpipe.upscaling.tiling import SMALLEST_TILE_PX, plan_tiles, plan_within


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    tile=st.integers(0, 200),
    halo=st.integers(0, 60),
    multiple_of=st.sampled_from([1, 4, 8]),
)
def test_every_pixel_is_kept_once_with_its_context(
    width: int, height: int, tile: int, halo: int, multiple_of: int
) -> None:
    plan = plan_tiles(width, height, tile, halo, multiple_of=multiple_of)
    covered = np.zeros((height, width), int)
    for row, column in tiles_of(plan):
        covered[row.kept, column.kept] += 1
        for span, length in ((row, height), (column, width)):
            assert span.window_start <= max(0, span.start - halo)
            assert span.window_stop >= min(length, span.stop + halo)
            assert span.window_start % multiple_of == 0
            assert span.window_stop % multiple_of == 0 or span.window_stop == length
    assert (covered == 1).all()


def test_tiles_are_balanced_and_at_most_as_large_as_asked() -> None:
    plan = plan_tiles(640, 480, 512, 18)
    assert plan.xs == (320,)
    assert plan.ys == ()
    assert plan.largest_tile_px == 480


def test_zero_never_cuts() -> None:
    plan = plan_tiles(5000, 3000, 0, 94)
    assert (plan.xs, plan.ys) == ((), ())
    assert plan.computed_pixels == 5000 * 3000


def test_core_is_the_kept_part_of_the_output() -> None:
    span = plan_tiles(100, 10, 50, 8).columns[1]
    assert (span.window_start, span.window_stop) == (42, 100)
    assert span.core(4) == slice(32, 232)


@pytest.mark.parametrize("halo", [18, 94])
@pytest.mark.parametrize("limit", [200**2, 400**2, 1000**2])
def test_plan_within_a_limit(limit: int, halo: int) -> None:
    plan = plan_within(1280, 720, halo, limit)
    smallest = plan_tiles(1280, 720, SMALLEST_TILE_PX, halo)
    assert plan.largest_window_pixels <= max(limit, smallest.largest_window_pixels)
    assert plan.computed_pixels <= smallest.computed_pixels


def test_plan_within_leaves_whole_what_fits() -> None:
    assert plan_within(1280, 720, 94, 1280 * 720).xs == ()


def test_plan_within_takes_the_smallest_tiles_where_nothing_fits() -> None:
    assert plan_within(640, 480, 94, 1).largest_tile_px <= SMALLEST_TILE_PX


@pytest.mark.parametrize("sizes", [(0, 5, 1, 1), (5, 5, -1, 1), (5, 5, 1, -1)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected sizes"):
        plan_tiles(*sizes)
