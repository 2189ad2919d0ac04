"""Sizes against closed forms; nothing but the size changes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st

from imgpipe.enhancement import enhance as module
from imgpipe.enhancement.enhance import enhance, plan_size, resample
from imgpipe.errors import ImageError, LimitExceeded, OutOfMemory
from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe_tests.enhancement.pictures import tagged, waves

LIMITS = LimitSettings()
AS_IT_IS = EnhanceSettings(min_width=1, min_height=1, scale_factor=1.0)

sides = st.integers(1, 20_000)
leasts = st.integers(1, 5_000)
hundredths = st.integers(100, 1600)


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ((640, 480), EnhanceSettings(), (1920, 1440)),  # the height decides
        ((400, 1200), EnhanceSettings(), (800, 2400)),  # the width decides
        ((800, 1440), EnhanceSettings(), (1200, 2160)),  # the factor decides
        ((4000, 3000), EnhanceSettings(), (6000, 4500)),
        ((1600, 2880), EnhanceSettings(scale_factor=1.0), (1600, 2880)),
        ((5, 5), EnhanceSettings(min_width=1, min_height=1, scale_factor=1.1), (6, 6)),  # 5.5 rounds up
        ((15, 5), EnhanceSettings(min_width=1, min_height=1, scale_factor=1.1), (17, 6)),  # 16.5 rounds up
        (
            (10, 10),
            EnhanceSettings(min_width=1, min_height=1, scale_factor=1.15),
            (12, 12),
        ),  # not binary 1.149..
        ((3, 7), EnhanceSettings(min_width=100, min_height=1, scale_factor=1.0), (100, 233)),
        ((7, 3), EnhanceSettings(min_width=1, min_height=100, scale_factor=1.0), (233, 100)),
    ],
)
def test_sizes(size: tuple[int, int], settings: EnhanceSettings, expected: tuple[int, int]) -> None:
    assert plan_size(*size, settings) == expected


@given(sides, sides, leasts, leasts, hundredths)
def test_one_factor_and_no_larger_than_needed(
    width: int, height: int, min_width: int, min_height: int, hundredth: int
) -> None:
    settings = EnhanceSettings(min_width=min_width, min_height=min_height, scale_factor=hundredth / 100)
    new_width, new_height = plan_size(width, height, settings)
    asked = Fraction(hundredth, 100)
    factor = max(asked, Fraction(min_width, width), Fraction(min_height, height))
    for new, old in ((new_width, width), (new_height, height)):
        assert abs(new - old * factor) <= Fraction(1, 2), "both sides by the same factor"
    assert new_width >= min_width
    assert new_height >= min_height
    if factor > asked:
        assert new_width == min_width or new_height == min_height, "more than asked only to reach a minimum"
    if factor == 1:
        assert (new_width, new_height) == (width, height)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_that_is_large_enough_is_the_same_object(channels: int, depth: int) -> None:
    image = tagged(waves(20, 30, channels, depth))
    before = image.pixels.copy()
    enhanced = enhance(image, EnhanceSettings(min_width=30, min_height=20, scale_factor=1.0), LIMITS)
    assert enhanced.image is image
    assert np.array_equal(image.pixels, before)
    assert (enhanced.factor, enhanced.reasons) == (1.0, ())


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_only_the_size_changes(channels: int, depth: int, kernel: Any) -> None:
    image = tagged(waves(20, 30, channels, depth))
    settings = EnhanceSettings(min_width=1, min_height=1, scale_factor=1.5, model=kernel)
    enhanced = enhance(image, settings, LIMITS)
    result = enhanced.image
    assert enhanced.factor == 1.5
    assert result.pixels.shape == (30, 45, channels)
    assert result.pixels.dtype == image.pixels.dtype
    kept = (result.icc, result.exif, result.xmp, result.source_format, result.notes)
    assert kept == (image.icc, image.exif, image.xmp, "PNG", ("a note",))
    if channels in (1, 3):
        assert np.array_equal(result.pixels, resize(image, 45, 30, kernel).pixels)


def test_sixteen_bits_keep_their_levels() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    same = enhance(Image(ramp), AS_IT_IS, LIMITS).image.pixels
    assert np.unique(same).size > 60_000
    larger = enhance(Image(ramp), EnhanceSettings(min_width=1, min_height=1), LIMITS).image
    assert larger.pixels.shape == (384, 384, 1)
    assert np.unique(larger.pixels).size > 60_000, "8 bits would leave 256"
    back = resize(larger, 256, 256, "lanczos").pixels
    psnr = skimage.metrics.peak_signal_noise_ratio(ramp, back, data_range=65535)
    assert psnr > 60, f"{psnr:.1f} dB"


def test_the_reason_names_the_side_that_decided() -> None:
    enhanced = enhance(Image(waves(48, 64)), EnhanceSettings(min_width=1, min_height=144), LIMITS)
    assert enhanced.factor == 3.0
    assert len(enhanced.reasons) == 1
    assert "enlarged 3 times, not 1.5: the height of 48 px" in enhanced.reasons[0]


def test_limits_hold_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Image:
        raise AssertionError("computed although the result is too large")

    monkeypatch.setattr(module, "resample", never)
    strip = Image(np.zeros((60_000, 1, 1), np.uint8))
    with pytest.raises(LimitExceeded, match=r"800x48000000 = 38,400,000,000 px.*max_output_pixels"):
        enhance(strip, EnhanceSettings(), LIMITS)
    at_limit = EnhanceSettings(min_width=1, min_height=1, scale_factor=2.0)
    with pytest.raises(LimitExceeded, match="max_output_pixels=399"):
        enhance(Image(waves(10, 10)), at_limit, LimitSettings(max_output_pixels=399))
    monkeypatch.undo()
    assert enhance(Image(waves(10, 10)), at_limit, LimitSettings(max_output_pixels=400)).image.width == 20


def test_no_memory_is_one_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Image:
        raise MemoryError

    monkeypatch.setattr(module, "resize", refuse)
    with pytest.raises(OutOfMemory, match="run fewer workers"):
        resample(Image(waves(5, 5)), 10, 10, "lanczos")


def test_impossible_sizes() -> None:
    with pytest.raises(ImageError, match="at least 1x1 px"):
        plan_size(0, 5, EnhanceSettings())


@pytest.mark.parametrize(
    ("priority", "most"), [(("JPEG",), 65500), (("WEBP",), 16383), (("WEBP", "JPEG"), 65500)]
)
def test_sides_that_no_format_holds_are_refused_before_the_resize(
    priority: tuple[str, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resample", lambda *_: pytest.fail("the picture was resized"))
    image = Image(np.zeros((4, 7000, 3), np.uint8))
    settings = EnhanceSettings.model_validate(
        {"min_width": 1, "min_height": 1, "scale_factor": 10.0, "save_format_priority": priority}
    )
    with pytest.raises(LimitExceeded, match=f"70000x40 px, expected at most {most} px a side"):
        enhance(image, settings, LIMITS)
