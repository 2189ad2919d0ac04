"""What the verdict says of faithful and of damaged enlargements of the hard sources.

Called by ``benchmarks/quality.py --outside --hard``. Clean: by Lanczos and bicubic, 1.5x to 4x, every second
with cuts recorded every 64 px; by factors that are not whole of pictures with odd sides, so that the result's
are rounded. Damage is planted into 4x Lanczos enlargements where it shows. The unseen part was not in view
when limits were set.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from mattes.outside import wilson
from worst import WorstPage

from enlargements.hard_sources import U8, HardSource, hard_sources
from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize
from imgpipe.quality.report import QualityReport, Severity
from imgpipe.quality.score import score
from imgpipe.records import ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe_tests.quality.defects import DEFECTS, plant

FACTORS = (1.5, 2.0, 2.5, 3.0, 4.0)
KERNELS: tuple[Literal["lanczos", "bicubic"], ...] = ("lanczos", "bicubic")
#: Of :data:`DEFECTS`.
DAMAGE = ("blur", "shift", "erased_patch", "duplicated_tile", "black_tile", "tile_shift", "ringing")
_TILE_PX, _QUICK = 64, 2
_SETTINGS = QualitySettings()
#: Damage shows where at least this share of the values changes by this many levels.
_CHANGED_SHARE, _CHANGED_LEVELS = 0.002, 12


@dataclass(frozen=True, slots=True, eq=False)
class Enlargement:
    """An enlargement that is faithful, or was. ``group``: the table's row."""

    group: str
    source: HardSource
    kernel: str
    result: U8
    grid: TileGrid

    @property
    def name(self) -> str:
        return f"{self.source.name} {self.kernel} {self.grid.scale:g}x"

    def judge(self) -> QualityReport:
        pictures = Image(self.source.pixels), Image(np.ascontiguousarray(self.result))
        model = ModelUse(self.kernel, "classical")
        return score(*pictures, settings=_SETTINGS, tile_grid=self.grid, model=model)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Per part and group: how many were rejected, with 95% intervals (Wilson) and the checks that did it."""
    found: dict[str, dict[str, list[tuple[str, list[str]]]]] = {}
    worst = WorstPage(options.worst)
    for one in enlargements(_QUICK if options.quick else options.hard):
        if options.part not in ("both", one.source.part):
            continue
        report = one.judge()
        errors = [check.name for check in report.failed if check.severity is Severity.ERROR]
        assert bool(errors) == (report.status is Status.REJECTED)
        groups = found.setdefault(one.source.part, {})
        groups.setdefault(one.group, []).append((one.name, errors))
        if " 1 (" not in one.group:  # The slightest damage is no miss.
            clean = one.group.startswith("clean")
            worst.add(one.group, one.name, clean, report, one.source.pixels, one.result)
    worst.write()
    results = {
        part: {group: _row(rows) for group, rows in sorted(groups.items())} for part, groups in found.items()
    }
    for part, rows in sorted(results.items()):
        print(f"\nhard sources, {part} part" + f"{'n':>18}{'rejected':>10}{'95%':>12}  by")
        for group, row in rows.items():
            low, high = (100 * share for share in row["interval"])
            by = ", ".join(f"{name} {count}" for name, count in row["checks"].items())
            print(f"  {group:<34}{row['n']:>5}{row['rejected']:>10}{f'{low:.0f}..{high:.0f}%':>12}  {by}")
    return results


def _row(judged: list[tuple[str, list[str]]]) -> dict[str, Any]:
    rejected = [name for name, errors in judged if errors]
    checks = Counter(name for _, errors in judged for name in errors)
    few = sorted((rejected, [name for name, errors in judged if not errors]), key=len)[0]
    return {
        "n": len(judged),
        "rejected": len(rejected),
        "interval": wilson(len(rejected), len(judged)),
        "checks": dict(checks.most_common(5)),
        "names_rejected" if few is rejected else "names_passed": few,
    }


def enlargements(per_kind: int) -> Iterator[Enlargement]:
    for source in hard_sources(per_kind):
        for factor in FACTORS:
            one = source if factor.is_integer() else _with_odd_sides(source)
            for kernel in KERNELS:
                result = _enlarged(one.pixels, factor, kernel)
                grid = _grid(one, factor, cut=one.number % 2 == 0)
                yield Enlargement(f"clean {one.kind}", one, kernel, result, grid)
        yield from _damaged(source)


def _damaged(source: HardSource) -> Iterator[Enlargement]:
    clean, grid = _enlarged(source.pixels, 4.0, "lanczos"), _grid(source, 4.0, cut=True)
    tiles = grid if grid.xs and grid.ys else None
    for kind in DAMAGE:
        for level in range(3):
            result = plant(kind, clean, level, grid=tiles, seed=source.number)
            if result is None:
                continue
            changed = np.abs(result.astype(np.int16) - clean) >= _CHANGED_LEVELS
            if changed.mean() >= _CHANGED_SHARE:
                strength = DEFECTS[kind].strengths[level]
                yield Enlargement(f"{kind} {level + 1} ({strength:g})", source, "lanczos", result, grid)


def _with_odd_sides(source: HardSource) -> HardSource:
    height, width = (side - 1 + side % 2 for side in source.pixels.shape[:2])
    return replace(source, pixels=np.ascontiguousarray(source.pixels[:height, :width]))


def _enlarged(pixels: U8, factor: float, kernel: Literal["lanczos", "bicubic"]) -> U8:
    height, width = (round(factor * side) for side in pixels.shape[:2])
    return np.asarray(resize(Image(pixels), width, height, kernel).pixels, np.uint8)


def _grid(source: HardSource, factor: float, *, cut: bool) -> TileGrid:
    height, width = source.pixels.shape[:2]
    xs, ys = (tuple(range(_TILE_PX, side, _TILE_PX)) if cut else () for side in (width, height))
    return TileGrid(xs, ys, factor)
