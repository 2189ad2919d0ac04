"""The defect bench, small: what must always be found, for the right reason, on drawings.

The whole of it, with real pictures and a real network, is ``benchmarks/quality.py --defects``.
"""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.quality.report import QualityReport
from imgpipe.quality.score import score
from imgpipe.records import Status, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe_tests.quality.defects import DEFECTS, MATTE_DEFECTS, plant, tiles_of
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge

GRID = TileGrid((85, 170), (96,), 4.0)
SEEDS = range(3)

#: Defect -> the slightest strength that is always found, and a check that must be among those that fail.
ALWAYS = {
    "seam": (0, "lines_coherence_max"),
    "tile_brightness": (1, "lines_step_max"),
    "step": (1, "lines_coherence_max"),
    "tile_shift": (1, "worst_window_min"),
    "black_tile": (0, "worst_window_min"),
    "duplicated_tile": (0, "worst_window_min"),
    "channel_swap": (0, "local_color_shift_255_max"),
    "colour_shift": (1, "color_shift_255_max"),
    "gamma": (1, "color_shift_255_max"),
    "shift": (0, "subpixel_shift_px_max"),
    "blur": (1, "detail_ratio_min"),
    "ringing": (1, "ssim_y_half_min"),
    "banding": (0, "occupancy_ratio_min"),
    "halo": (1, "local_color_shift_255_max"),
    "erased_patch": (2, "worst_window_min"),
    "blurred_patch": (2, "worst_window_min"),
    "nearest": (2, "grid_ratio_max"),
    "noise": (0, "grain_255_max"),
    "jpeg": (0, "jpeg_traces_max"),
}


def judge(source: U8, result: U8) -> QualityReport:
    return score(Image(source), Image(result), settings=QualitySettings(), tile_grid=GRID)


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_what_must_always_be_found(name: str) -> None:
    slightest, check = ALWAYS[name]
    for seed in SEEDS:
        source = area(draw(seed))
        clean = enlarge(source)
        for level in range(slightest, 3):
            damaged = plant(name, clean, level, grid=GRID, seed=seed)
            assert damaged is not None, (seed, level)
            report = judge(source, damaged)
            values = {one.name: one.value for one in report.failed}
            assert report.status is Status.REJECTED, (seed, level, dict(report.metrics))
            if level:
                assert check in values, (seed, level, values)


def test_the_documented_misses_are_the_kinds_left() -> None:
    assert set(DEFECTS) - set(ALWAYS) == {"tile_seam"}


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_defects_are_seeded_graded_and_leave_the_original_alone(name: str) -> None:
    clean = draw(4)
    kept = clean.copy()
    amounts = []
    for level in range(3):
        damaged = plant(name, clean, level, grid=GRID, seed=7)
        assert damaged is not None
        assert damaged.shape == clean.shape
        again = plant(name, clean, level, grid=GRID, seed=7)
        assert again is not None
        assert np.array_equal(damaged, again)
        amounts.append(float(np.abs(damaged.astype(int) - clean).mean()))
    assert np.array_equal(clean, kept)
    assert min(amounts) > 0
    # Places differ with the strength, so one patch may hit a calmer part than the next smaller one.
    assert amounts[2] > amounts[0], amounts


def test_defects_that_would_not_show_are_not_planted() -> None:
    black = np.zeros((480, 480, 3), np.uint8)
    for name in ("black_tile", "duplicated_tile", "channel_swap", "erased_patch", "blurred_patch"):
        assert plant(name, black) is None, name


def test_tiles_cover_the_picture_once() -> None:
    cover = np.zeros((40, 60), int)
    for tile in tiles_of(([0, 20, 60], [0, 10, 30, 40])):
        cover[tile] += 1
    assert (cover == 1).all()


@pytest.mark.parametrize("name", sorted(MATTE_DEFECTS))
def test_matte_defects_change_the_matte(name: str) -> None:
    y, x = np.mgrid[:200, :240]
    alpha = ((np.hypot(x - 120, y - 100) < 70) * 255).astype(np.uint8)
    alpha[98:102, 150:230] = 255  # a strand of 4 px
    amounts = [
        float(np.abs(MATTE_DEFECTS[name].plant(alpha, strength).astype(int) - alpha).mean())
        for strength in MATTE_DEFECTS[name].strengths
    ]
    assert amounts == sorted(amounts), amounts
    assert amounts[0] > 0
