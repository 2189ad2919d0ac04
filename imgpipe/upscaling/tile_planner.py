"""How large the tiles of a picture are: as configured, from free memory, and after memory ran out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imgpipe.errors import OutOfMemory
from imgpipe.inference.device import available_memory_bytes
from imgpipe.upscaling.network import LoadedNetwork
from imgpipe.upscaling.tiling import SMALLEST_TILE_PX, TilePlan, plan_tiles, plan_within

#: Shares of the free memory that tiles may be planned for; the rest is for everything else.
_GPU_SHARE = 0.7
_HOST_SHARE = 0.5

#: Pixels of a window on a GPU: with 192 channels, as in dense blocks, more would pass 2^31 values, for which
#: torch leaves cuDNN. Nothing is gained above it.
_LARGEST_GPU_WINDOW = 2**31 // 192

#: Pictures after which a ceiling that memory set is doubled: who took the memory may be gone.
_CEILING_HOLDS = 32

#: More windows at once are no faster on a GPU, and take longer to be redone where one fails.
_LARGEST_BATCH = 16

#: On a host a larger tile is no faster, only its halo is relatively smaller: the smallest of these is
#: taken with which the halo costs at most a quarter more arithmetic.
_HOST_BUDGETS_BYTES = tuple(gib * 2**30 for gib in (1, 2, 4, 8))
_TOLERATED_HALO_COST = 1.25


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a picture is tried; ``oom_retries``: how often memory ran out before."""

    plan: TilePlan
    batch: int
    oom_retries: int = 0


class TilePlanner:
    """Plans grids for one network and remembers the tile size that memory allowed.

    ``tile_size``: the setting: longest edge in source px, 0 = never cut, or ``auto``. ``batch_size``: windows
    at once, or ``auto``. Not thread-safe: whoever computes asks.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        tile_size: int | Literal["auto"],
        halo_px: int,
        batch_size: int | Literal["auto"] = "auto",
    ) -> None:
        self._loaded = loaded
        self._tile_size = tile_size
        self._halo_px = halo_px
        self._batch_size = batch_size
        self._device = loaded.network.device
        self._ceiling_px: int | None = None
        self._largest_batch = _LARGEST_BATCH
        self._tried_again = False
        self._since_failure = 0

    def plan(self, width: int, height: int) -> TilePlan:
        """The grid for a picture of ``width`` x ``height`` source px, not above what failed lately."""
        self._since_failure += 1
        if self._since_failure >= _CEILING_HOLDS:
            self._recover()
        if self._tile_size == "auto":
            plan = self._from_memory(width, height)
        else:
            plan = self._cut(width, height, self._tile_size)
            if self._on_host:
                # A host does not refuse memory that it lacks, it swaps or kills: plan, do not try.
                fitting = self._fitting_pixels(1.0)
                if plan.largest_window_pixels > fitting:
                    plan = self._within(width, height, fitting)
        if self._ceiling_px is not None and plan.largest_tile_px > self._ceiling_px:
            plan = self._cut(width, height, self._ceiling_px)
        return plan

    def first(self, width: int, height: int) -> Attempt:
        """At a picture of ``width`` x ``height`` source px."""
        plan = self.plan(width, height)
        return Attempt(plan, self.batch(plan))

    def after(self, attempt: Attempt, failure: BaseException) -> Attempt:
        """After ``attempt`` ran out of memory: a smaller batch, then smaller tiles; see :meth:`smaller`."""
        plan, retries = attempt.plan, attempt.oom_retries + 1
        if attempt.batch > 1:
            return Attempt(plan, self.smaller_batch(attempt.batch), retries)
        plan = self.smaller(plan, failure)
        return Attempt(plan, self.batch(plan), retries)

    def smaller(self, plan: TilePlan, failure: BaseException) -> TilePlan:
        """The next plan after ``plan`` ran out of memory; its tile size holds for later pictures too.

        On a GPU the same once more: what the cache kept in pieces has been given back. Raises
        :class:`OutOfMemory` from ``failure`` where ``plan`` already had the smallest tiles.
        """
        if self._is_worth_the_same():
            return plan
        if plan.largest_tile_px <= SMALLEST_TILE_PX:
            raise OutOfMemory(
                f"even a tile of {plan.largest_tile_px} px with a halo of {self._halo_px} px does not fit "
                f"into the memory of {self._device}; free memory there, or use "
                "upscale.model=realesr-animevideov3 or lanczos"
            ) from failure
        self._ceiling_px = max(SMALLEST_TILE_PX, plan.largest_tile_px // 2)
        return self._cut(plan.width, plan.height, self._ceiling_px)

    def batch(self, plan: TilePlan) -> int:
        """How many windows of ``plan`` are computed at once, never more than what once failed.

        ``auto``: one on a host, whose cores are busy with one; on a GPU what its free memory holds.
        """
        if self._batch_size != "auto":
            wanted = self._batch_size
        elif self._on_host:
            wanted = 1
        else:
            wanted = self._fitting_pixels(_GPU_SHARE) // plan.largest_window_pixels
        return max(1, min(wanted, self._largest_batch))

    def smaller_batch(self, batch: int) -> int:
        """Half of ``batch``, which ran out of memory; it holds for later pictures too. On a GPU the same once
        more, as in :meth:`smaller`."""
        if self._is_worth_the_same():
            return batch
        self._largest_batch = max(1, batch // 2)
        return self._largest_batch

    def _is_worth_the_same(self) -> bool:
        self._since_failure = 0
        again, self._tried_again = self._tried_again, True
        return not self._on_host and not again

    def _recover(self) -> None:
        self._since_failure, self._tried_again = 0, False
        self._largest_batch = min(_LARGEST_BATCH, self._largest_batch * 2)
        if self._ceiling_px is not None:
            self._ceiling_px *= 2

    @property
    def _on_host(self) -> bool:
        return self._device == "cpu"

    def _from_memory(self, width: int, height: int) -> TilePlan:
        if not self._on_host:
            fitting = self._fitting_pixels(_GPU_SHARE)
            bound = min(fitting, _LARGEST_GPU_WINDOW) if self._loaded.tileable else fitting
            return self._within(width, height, bound)
        largest = self._fitting_pixels(_HOST_SHARE)
        if not self._loaded.tileable:
            return self._within(width, height, largest)
        for budget in _HOST_BUDGETS_BYTES:
            pixels = min(largest, self._loaded.memory.fitting_pixels(budget))
            plan = self._within(width, height, pixels)
            if plan.computed_pixels <= _TOLERATED_HALO_COST * width * height:
                break
        return plan

    def _fitting_pixels(self, share: float) -> int:
        return self._loaded.memory.fitting_pixels(int(available_memory_bytes(self._device) * share))

    def _cut(self, width: int, height: int, tile_px: int) -> TilePlan:
        return plan_tiles(width, height, tile_px, self._halo_px, multiple_of=self._loaded.multiple_of)

    def _within(self, width: int, height: int, pixels: int) -> TilePlan:
        return plan_within(width, height, self._halo_px, pixels, multiple_of=self._loaded.multiple_of)
