from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from imgpipe.images.image import Image
from imgpipe.quality.finest_texture import finest_texture
from imgpipe.quality.score import score
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

Plane = npt.NDArray[np.uint8]
#: No enlargement of it is without texture.
ROUGH = np.random.default_rng(0).integers(90, 120, (24, 32), np.uint8)
SLOPE = np.asarray(np.add.outer(np.arange(64), 2 * np.arange(96)), np.uint8)


def test_a_slope_has_none_and_stripes_of_a_pixel_are_nothing_else() -> None:
    assert finest_texture(ROUGH, SLOPE) == pytest.approx(0.0, abs=0.02)  # Its border is repeated.
    stripes = np.tile(np.array([100, 120], np.uint8), (64, 48))
    assert finest_texture(ROUGH, stripes) == pytest.approx(94 / 96)  # All but the outermost columns.


@pytest.mark.parametrize("level", [0, 1, 60])
def test_flat_places_and_hard_edges_do_not_count(level: int) -> None:
    board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((16, 16))) * level
    assert finest_texture(ROUGH, board.astype(np.uint8)) is None


def test_a_source_that_is_a_slope_itself_may_stay_one() -> None:
    assert finest_texture(np.ascontiguousarray(SLOPE[::4, ::4]), SLOPE) is None


def test_a_result_that_was_smoothed_to_paint_is_rejected_and_says_so() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 1.3)
    source = np.asarray(noise, np.uint8)
    clean = cv2.resize(source, (512, 384), interpolation=cv2.INTER_CUBIC)
    grained = np.asarray((clean + rng.normal(0, 0.8, clean.shape)).clip(0, 255), np.uint8)

    def failed(result: Plane) -> set[str]:
        model = ModelUse("realesr-animevideov3", "spandrel")
        report = score(Image(source), Image(result), settings=QualitySettings(), model=model)
        return {check.name for check in report.failed}

    assert "finest_texture_min" not in failed(grained)
    assert "finest_texture_min" in failed(np.asarray(cv2.bilateralFilter(grained, -1, 100, 6), np.uint8))


@pytest.mark.parametrize(("factor", "measured"), [(2, False), (3, True), (6, True), (8, False)])
def test_what_a_network_by_4_did_not_make_itself_is_not_measured(factor: int, measured: bool) -> None:
    source = np.random.default_rng(0).integers(90, 120, (40, 40, 3), np.uint8)
    result = cv2.resize(source, (40 * factor, 40 * factor), interpolation=cv2.INTER_CUBIC)
    report = score(Image(source), Image(np.asarray(result, np.uint8)), settings=QualitySettings())
    assert ("finest_texture" in report.metrics) == measured
    said = "finest_texture: the result is not 2.9 to 6.1 times as large as the source"
    assert (said in report.notes) != measured
