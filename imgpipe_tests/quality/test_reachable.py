"""What a Lanczos enlargement reaches, against an enlargement that is averaged back, and the verdict by it."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize
from imgpipe.pixels.round_trip import reduce_picture
from imgpipe.quality.reachable import lanczos_reaches, lanczos_round_trip
from imgpipe.quality.report import QualityReport
from imgpipe.quality.score import score
from imgpipe.settings import QualitySettings
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.defects import plant
from imgpipe_tests.quality.drawings import U8, enlarge

SIDE = 96


def screentone() -> U8:
    """1-bit dots of period 4 in one direction and 5 in the other."""
    y, x = np.mgrid[:SIDE, :SIDE]
    dots = (x % 4 < 2) & (y % 5 < 2)
    return np.repeat(np.where(dots, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def judge(source: U8, result: U8, **thresholds: float) -> QualityReport:
    settings = QualitySettings(thresholds=thresholds)
    return score(Image(source), Image(np.ascontiguousarray(result)), settings=settings)


@pytest.mark.parametrize("size", [(100, 140), (200, 280), (75, 105), (77, 107), (127, 177)])
def test_the_round_trip_is_that_of_the_enlargement(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).choice(np.array([0, 90, 255], np.uint8), (70, 50, 3))
    image, own = Image(pixels), (50, 70)
    truth = reduce_picture(resize(image, *size, "lanczos"), own)
    found = lanczos_round_trip(reduce_picture(image, own), size)
    assert np.abs(found.rgb[:] - truth.rgb[:]).max() < 0.6  # An enlargement is rounded.


def test_colours_stay_below_their_alpha() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (250, 120, 0, 255)
    found = lanczos_round_trip(reduce_picture(Image(pixels), (40, 40)), (160, 160))
    assert found.alpha is not None
    assert (found.rgb[:] <= 255 * found.alpha[:][..., None] + 1e-3).all()
    truth = reduce_picture(resize(Image(pixels), 160, 160, "lanczos"), (40, 40))
    assert np.abs(found.rgb[:] - truth.rgb[:]).mean() < 0.5


def test_nothing_is_reached_where_nothing_was_enlarged() -> None:
    assert lanczos_reaches(Image(screentone()), (SIDE, SIDE)) == {}


def test_tone_enlarged_faithfully_passes_and_says_why() -> None:
    report = judge(screentone(), enlarge(screentone()))
    assert not report.failed
    assert report.metrics["psnr_y"] < report.thresholds["psnr_y_min_db"].value
    reached = lanczos_reaches(Image(screentone()), (4 * SIDE, 4 * SIDE))["psnr_y"]
    said = f"at least {reached - 2.5:.4g}: what a Lanczos enlargement of this source reaches, less 2.5"
    assert any(note.startswith("psnr_y 19") and note.endswith(said) for note in report.notes)


@pytest.mark.parametrize("side", [109, 143, 145, 240])
def test_tone_enlarged_by_a_factor_that_is_not_whole_passes(side: int) -> None:
    tone = Image(screentone())
    report = judge(tone.pixels, np.asarray(resize(tone, side, side, "lanczos").pixels, np.uint8))
    assert not report.failed


@pytest.mark.parametrize("kind", ["blur", "shift", "erased_patch", "duplicated_tile", "black_tile"])
def test_damage_to_tone_is_still_rejected(kind: str) -> None:
    assert judge(screentone(), present(plant(kind, enlarge(screentone())))).failed


def test_a_threshold_of_ones_own_counts_as_it_is() -> None:
    report = judge(screentone(), enlarge(screentone()), psnr_y_min_db=20)
    assert [check.name for check in report.failed] == ["psnr_y_min_db"]


def test_a_good_picture_needs_no_reference() -> None:
    ramp = np.repeat(np.linspace(20, 220, SIDE).astype(np.uint8)[None, :, None], SIDE, axis=0).repeat(3, 2)
    assert "reachable" not in judge(ramp, enlarge(ramp)).seconds
