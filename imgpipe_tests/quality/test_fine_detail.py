from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.quality.fine_detail import FineDetail, fine_detail, is_enlarged, spread_of
from imgpipe.quality.score import score
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge, image

SCALE = 4


@pytest.fixture(scope="module")
def source() -> U8:
    return area(draw(3, 160, 128, SCALE), SCALE)


@pytest.fixture(scope="module")
def clean(source: U8) -> U8:
    return enlarge(source, SCALE)


def grey(pixels: U8) -> U8:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def found(source: U8, result: U8) -> FineDetail:
    return fine_detail(grey(source), spread_of(grey(source)), grey(result))


def test_a_clean_enlargement_has_none(source: U8, clean: U8) -> None:
    fine = found(source, clean)
    assert fine.grain_255 is not None
    assert fine.grain_255 < 1.0
    assert (fine.specks_ppm, fine.scratch_px) == (0.0, 0.0)


def test_a_checkerboard_of_one_pixel_has_four_times_its_amplitude_as_grain() -> None:
    source = np.full((32, 48, 3), 100, np.uint8)
    board = (np.indices((128, 192)).sum(axis=0) % 2 * 2 - 1)[..., None]
    fine = found(source, (enlarge(source, SCALE) + 6 * board).astype(np.uint8))
    assert fine.grain_255 == pytest.approx(24.0, rel=0.02)  # 1 row and column of 128 have no neighbour


def test_noise_on_one_tile_is_found_where_it_is(source: U8) -> None:
    flat = np.full_like(source, 90)
    result = enlarge(flat, SCALE).astype(np.float32)
    result[256:384, 384:512] += np.random.default_rng(0).normal(0, 8, (128, 128, 1))
    fine = found(flat, np.rint(result).astype(np.uint8))
    box = next(box for box in fine.boxes if box.kind == "grain_255")
    assert fine.grain_255 == pytest.approx(1.6 * 8, rel=0.1)
    assert (96 <= box.x < 128, 64 <= box.y < 96) == (True, True), box


def test_dead_pixels_are_counted_where_the_source_is_smooth(source: U8) -> None:
    flat = np.full_like(source, 90)
    result = enlarge(flat, SCALE).copy()
    places = [(50, 60), (51, 300), (200, 123), (480, 600)]
    for place in places:
        result[place] = 255
    fine = found(flat, result)
    assert fine.specks_ppm == pytest.approx(1e6 * len(places) / (512 * 640))
    boxes = {(box.x, box.y) for box in fine.boxes if box.kind == "specks_ppm"}
    assert boxes == {(x // SCALE, y // SCALE) for y, x in places}


def test_a_single_pixel_counts_as_none(source: U8) -> None:
    flat = np.full_like(source, 90)
    result = enlarge(flat, SCALE).copy()
    result[200, 300] = 255
    assert found(flat, result).specks_ppm == 0.0


@pytest.mark.parametrize("end", [(500, 100), (100, 400), (450, 420)])
def test_a_scratch_is_measured_along_its_longer_side(source: U8, end: tuple[int, int]) -> None:
    flat = np.full_like(source, 90)
    result = enlarge(flat, SCALE).copy()
    cv2.line(result, (100, 100), end, (120, 120, 120), 1)
    length = max(abs(end[0] - 100), abs(end[1] - 100)) / SCALE
    assert found(flat, result).scratch_px == pytest.approx(length, abs=4)


def test_a_line_of_three_pixels_and_a_circle_are_no_scratch(source: U8) -> None:
    flat = np.full_like(source, 90)
    result = enlarge(flat, SCALE).copy()
    cv2.line(result, (100, 100), (500, 300), (120, 120, 120), 3)
    cv2.circle(result, (300, 250), 90, (120, 120, 120), 1)
    assert found(flat, result).scratch_px == 0.0


def test_a_border_of_one_source_pixel_that_is_drawn_sharper_is_no_scratch() -> None:
    window = np.full((64, 96, 3), 30, np.uint8)
    window[:, :40], window[:, 40] = 60, 90
    result = enlarge(window, SCALE).copy()
    result[:, 161] = 120
    assert found(window, result).scratch_px == 0.0
    result[:, 80] = 80
    assert found(window, result).scratch_px == pytest.approx(64, abs=4)


def test_edges_of_the_source_are_no_damage() -> None:
    hard = np.full((64, 96, 3), 255, np.uint8)
    cv2.putText(hard, "line art", (4, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    fine = found(hard, enlarge(hard, SCALE))
    assert fine.grain_255 is not None
    assert fine.grain_255 < 1.0
    assert (fine.specks_ppm, fine.scratch_px) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3)])
def test_small_pictures_are_measured(shape: tuple[int, int]) -> None:
    flat = np.zeros((*shape, 3), np.uint8)
    assert found(flat, enlarge(flat, 2)).grain_255 == 0.0


def test_only_enlargements_are_judged() -> None:
    assert is_enlarged((20, 30), (40, 57))
    assert not is_enlarged((20, 30), (40, 56))


@pytest.mark.parametrize(
    ("name", "limit"),
    [("grain", "grain_255_max"), ("specks", "specks_ppm_max"), ("scratch", "scratch_px_max")],
)
@pytest.mark.parametrize("model", [ModelUse("lanczos", "classical"), ModelUse("net", "spandrel")])
def test_the_verdict_rejects_it_and_says_where(
    source: U8, clean: U8, name: str, limit: str, model: ModelUse
) -> None:
    flat = np.full_like(source, 90)
    damaged = enlarge(flat, SCALE).copy()
    rng = np.random.default_rng(1)
    if name == "grain":
        damaged[100:356, 200:456] += rng.integers(0, 16, (256, 256, 1), np.uint8)
    elif name == "specks":
        damaged[rng.integers(0, 512, 30), rng.integers(0, 640, 30)] = 0
    else:
        cv2.line(damaged, (100, 100), (450, 420), (115, 115, 115), 1)
    report = score(image(flat), image(damaged), settings=QualitySettings(), model=model)
    assert limit in [check.name for check in report.failed]
    assert any(box.kind.startswith(name) for box in report.edges.boxes)
    good = score(image(source), image(clean), settings=QualitySettings(), model=model)
    assert limit not in [check.name for check in good.failed]
