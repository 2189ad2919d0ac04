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
    assert raised.value.extra_bytes > 1300 * (unknowns - 32_768)


def test_what_was_given_once_is_not_asked_for_again() -> None:
    asked: list[int] = []

    def grow(extra: int) -> bool:
        asked.append(extra)
        return True

    with growing_by(grow):
        for extra in (10, 5, 30, 30, 20):
            need_extra(extra)
    assert asked == [10, 20]


def test_the_need_grows_with_the_bands_width() -> None:
    """Measured: rings of 8, 20, 60 and 120 px in noise took 1027, 1364, 2163 and 2274 bytes an unknown."""
    rings = {
        (75_364, 100_364): 1027,
        (188_492, 212_000): 1364,
        (150_784, 157_200): 2163,
        (226_168, 231_000): 2274,
    }
    for (unknowns, centres), took in rings.items():
        assert took <= band_bytes(unknowns, centres) / unknowns <= 1.3 * took


def test_coarse_to_fine_stays_within_the_assumed() -> None:
    with growing_by(lambda extra: False):
        assert _matte(220) > 0.7
        assert 0 < _matte(2) < 0.025
