"""A soft band that takes more than a picture was admitted with asks for it before it is solved."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.inference.admitted_memory import MoreMemoryNeeded, growing_by, need_extra
from imgpipe.matting.band_memory import band_bytes
from imgpipe.matting.matte import CoarseMatte
from imgpipe.matting.refine import finish
from imgpipe.settings import RembgSettings

SIDE = 240


def _matte(soft_px: int, method: str = "auto") -> float:
    """The share of a picture's pixels that is unknown: the mask rises within ``soft_px`` columns."""
    ramp = np.clip((np.arange(SIDE) - SIDE / 2) / soft_px + 0.5, 0, 1).astype(np.float32)
    alpha = np.repeat(ramp[None], SIDE, axis=0)
    image = Image(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))
    coarse = CoarseMatte(alpha, evidence=1.0, confidence=1.0)
    settings = RembgSettings(erode_size=0, alpha_matting=method)
    return float(finish(image, coarse, settings, {}).details["unknown_share"])


def test_a_wide_band_asks_for_what_it_takes_beyond_the_assumed() -> None:
    with growing_by(lambda extra: False), pytest.raises(MoreMemoryNeeded) as raised:
        _matte(220, "closed_form")
    unknowns = 0.9 * 220 * SIDE  # between the thresholds
    assert raised.value.extra_bytes > 1900 * (unknowns - 32_768)


def test_what_was_given_once_is_not_asked_for_again() -> None:
    asked: list[int] = []

    def grow(extra: int) -> bool:
        asked.append(extra)
        return True

    with growing_by(grow):
        for extra in (10, 5, 30, 30, 20):
            need_extra(extra)
    assert asked == [10, 20]


def test_the_need_grows_with_the_bands_width_until_it_is_solved_otherwise() -> None:
    """Measured: a ring of 200 px and 439,828 unknowns took 1.59 GB; incomplete factors 2.2 kB each."""
    assert band_bytes(440_000, 444_400) == pytest.approx(1.62e9, rel=0.1)
    assert band_bytes(100_000, 110_000) == 190_000_000
    assert band_bytes(1_319_512, 1_328_000) == pytest.approx(2.2e3 * 1_319_512, rel=0.05)


def test_coarse_to_fine_stays_within_the_assumed() -> None:
    with growing_by(lambda extra: False):
        assert _matte(220) > 0.7
        assert 0 < _matte(2) < 0.025
