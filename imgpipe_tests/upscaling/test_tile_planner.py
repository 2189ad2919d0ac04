"""Tile sizes follow the setting, the free memory, and what failed before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import pytest

from imgpipe.errors import OutOfMemory
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.tile_planner import TilePlanner

MIB = 2**20


@dataclass
class _Network:
    device: str


@dataclass
class _Loaded:
    """What the planner asks of a network: 1 KiB per pixel."""

    network: _Network
    memory: MemoryModel = MemoryModel(0.0, 1024.0)  # noqa: RUF009 (frozen)
    multiple_of: int = 1
    tileable: bool = True


def _planner(
    monkeypatch: pytest.MonkeyPatch,
    free_bytes: int,
    tile: int | Literal["auto"] = "auto",
    halo: int = 18,
    device: str = "cpu",
    **changes: Any,
) -> TilePlanner:
    monkeypatch.setattr("imgpipe.upscaling.tile_planner.available_memory_bytes", lambda _: free_bytes)
    return TilePlanner(cast(Any, _Loaded(_Network(device), **changes)), tile, halo)


def test_whole_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _planner(monkeypatch, 16 * 1024 * MIB).plan(900, 900).xs == ()


def test_a_host_takes_no_more_than_is_useful(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _planner(monkeypatch, 64 * 1024 * MIB).plan(4000, 4000)
    assert 0.5 * MIB < plan.largest_window_pixels <= MIB


def test_a_wide_halo_earns_a_larger_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = _planner(monkeypatch, 64 * 1024 * MIB).plan(4000, 4000)
    wide = _planner(monkeypatch, 64 * 1024 * MIB, halo=94).plan(4000, 4000)
    assert wide.largest_tile_px > narrow.largest_tile_px
    assert wide.computed_pixels <= 1.25 * 4000**2


def test_a_gpu_takes_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _planner(monkeypatch, 8 * 1024 * MIB, device="cuda").plan(4000, 4000)
    assert 0.4 * 5.6 * MIB < plan.largest_window_pixels <= 5.6 * MIB


def test_networks_that_must_see_everything_get_all_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _planner(monkeypatch, 40 * 1024 * MIB, tileable=False).plan(4000, 4000).xs == ()


@pytest.mark.parametrize("tile", [0, 2000])
def test_a_configured_tile_that_does_not_fit_is_made_smaller(
    tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _planner(monkeypatch, 100 * MIB, tile=tile).plan(2000, 2000)
    assert plan.largest_window_pixels <= 100 * 1024


def test_a_configured_tile_is_kept_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _planner(monkeypatch, 1024 * MIB, tile=256).plan(1000, 600)
    assert (plan.xs, plan.ys) == ((250, 500, 750), (200, 400))


def test_halving_ends_at_the_smallest_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = _planner(monkeypatch, 64 * 1024 * MIB)
    plan = planner.plan(300, 200)
    edges = [plan.largest_tile_px]
    while edges[-1] > 32:
        plan = planner.smaller(plan, MemoryError())
        edges.append(plan.largest_tile_px)
        assert len(edges) < 10
    failure = MemoryError()
    with pytest.raises(OutOfMemory) as caught:
        planner.smaller(plan, failure)
    assert edges == sorted(edges, reverse=True)
    assert caught.value.__cause__ is failure
    assert planner.plan(5000, 5000).largest_tile_px <= 32
