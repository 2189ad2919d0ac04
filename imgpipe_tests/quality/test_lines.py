from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.round_trip import Shown
from imgpipe.quality.lines import find_lines
from imgpipe.quality.report import LinesReport
from imgpipe.records import TileGrid
from imgpipe_tests.opencv_files import opencv_read
from imgpipe_tests.quality.defects import plant_seam, plant_step
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge

GRID = TileGrid((128,), (96,), 4.0)
SEEDS = range(10)


def find(source: U8, result: U8, grid: TileGrid | None = GRID) -> LinesReport:
    before, after = (Shown(Image(np.ascontiguousarray(one))) for one in (source, result))
    return find_lines(before.luma(), after, grid)


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_full_seams_are_found_and_clean_is_not_flagged(levels: int) -> None:
    found, false_alarms = 0, 0
    for seed in SEEDS:
        source = area(draw(seed))
        result = enlarge(source)
        false_alarms += bool(find(source, result).boxes)
        found += bool(find(source, plant_seam(result, 384, levels)).boxes)
        found += bool(find(source, plant_seam(result, 512, -levels, vertical=True)).boxes)
    assert false_alarms == 0
    assert found >= 0.95 * 2 * len(SEEDS)


def test_the_box_lies_on_the_seam() -> None:
    source = area(draw(1))
    report = find(source, plant_seam(enlarge(source), 512, 4, vertical=True))
    assert report.mode == "grid"
    box = report.boxes[0]
    assert (box.x, box.y, box.width, box.height) == (511, 0, 2, 768)
    assert box.coherence == report.score > 0.5


def test_a_piece_of_a_line_is_not_reported_beside_the_whole() -> None:
    source = area(draw(1))
    report = find(source, plant_seam(enlarge(source), 384, 6))
    assert [box.width for box in report.boxes] == [1024]


def test_a_seam_of_one_tile_is_found_on_real_frames(shared: Path) -> None:
    for name in ("frame-000.png", "frame-084.png"):
        source = opencv_read(shared / "data" / "anime" / name)[..., ::-1]
        result = enlarge(source)
        grid = TileGrid((320,), (240,), 4.0)
        assert not find(source, result, grid).boxes
        report = find(source, plant_seam(result, 960, 8, span=slice(0, 1280)), grid)
        assert (report.boxes[0].x, report.boxes[0].width) == (0, 1280)


@pytest.mark.parametrize("levels", [2, 4])
def test_tiles_of_other_brightness_are_found(levels: int) -> None:
    reports = []
    for seed in SEEDS:
        source = area(draw(seed))
        reports.append(find(source, plant_step(enlarge(source), 384, levels)))
    assert all(report.boxes for report in reports)
    steps = [report.step for report in reports]
    assert np.median(steps) == pytest.approx(levels, abs=0.3), steps


def test_a_seam_off_the_grid_is_not_the_grids() -> None:
    source = area(draw(1))
    assert not find(source, plant_seam(enlarge(source), 300, 4)).boxes


def test_blind_mode_finds_a_full_line_and_says_what_it_is() -> None:
    found = 0
    for seed in SEEDS:
        source = area(draw(seed))
        result = enlarge(source)
        clean = find(source, result, None)
        assert not clean.boxes
        assert (clean.mode, clean.note) == ("blind", "no tile grid was recorded")
        found += any(abs(box.y - 299) <= 1 for box in find(source, plant_seam(result, 300, 8), None).boxes)
    assert found >= 0.7 * len(SEEDS)
    assert find(source, result, TileGrid()).note == "the result was not cut into tiles"


@pytest.mark.parametrize(("factor", "size"), [(1, 400), (2, 200), (3, 240)])
def test_other_factors(factor: int, size: int) -> None:
    source = area(draw(7, size, size))
    result = enlarge(source, factor)
    grid = TileGrid((size // 2,), (size // 2,), float(factor))
    assert not find(source, result, grid).boxes
    assert find(source, plant_seam(result, size // 2 * factor, 6), grid).boxes


def test_what_cannot_be_tested_says_so() -> None:
    small = draw(0, 20, 20, 1)
    assert find(small, small).mode == "not_applicable"
    big = draw(0, 200, 200, 1)
    assert find(big, area(big, 2)).note == "the result is smaller than its source"


@pytest.mark.parametrize("grid", [None, GRID])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_pictures_stay_as_they_are(factor: int, grid: TileGrid | None) -> None:
    source = area(draw(1))
    result = source.repeat(factor, axis=0).repeat(factor, axis=1)
    before = source.copy(), result.copy()
    report = find(source, result, grid)
    assert np.array_equal(source, before[0])
    assert np.array_equal(result, before[1])
    assert factor > 1 or report.score == 0.0  # A picture has no lines that it lacks.


def test_the_fold_of_a_gradient_is_no_seam_and_a_seam_on_it_is() -> None:
    """Bilinear keeps the fold sharp, Lanczos rounds it: they differ along all of it."""
    up = np.concatenate([np.arange(64) * 3.9, np.arange(64, 0, -1) * 3.9])
    source = np.broadcast_to(up.astype(np.uint8)[:, None, None], (128, 96, 3))
    result = enlarge(np.ascontiguousarray(source), 3)
    grid = TileGrid((), (64,), 3.0)
    for cuts in (None, grid):
        assert not find(source, result, cuts).boxes
        assert find(source, plant_seam(result, 192, 8), cuts).boxes
