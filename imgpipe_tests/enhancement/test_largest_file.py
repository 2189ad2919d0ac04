"""Targets are met with few encodings and few losses, or reported as missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imgpipe.enhancement import workbench as module
from imgpipe.enhancement.formats import Encoding
from imgpipe.enhancement.saving import Saved, save
from imgpipe.enhancement.workbench import MAX_ATTEMPTS
from imgpipe.errors import EncodeError
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe_tests.enhancement.pictures import noise, tagged, waves

SMALL = EnhanceSettings(min_width=40, min_height=30)


def drawing() -> Image:
    """Flat areas with dark outlines: what PNG is good at and JPEG is not."""
    y, x = np.mgrid[0:300, 0:400]
    pixels = np.full((300, 400, 3), (240, 200, 180), np.uint8)
    for k, radius in enumerate((140, 90, 45)):
        distance = np.hypot(x - 200, y - 150)
        pixels[distance < radius] = (200 - 40 * k, 90 + 50 * k, 60 * k)
        pixels[np.abs(distance - radius) < 2] = 20
    return Image(pixels)


PICTURES = {
    "noise RGB": Image(noise(300, 400)),
    "noise RGBA": Image(noise(300, 400, 4)),
    "noise grey": Image(noise(300, 400, 1)),
    "noise LA": Image(noise(300, 400, 2)),
    "flat": Image(np.full((300, 400, 3), 77, np.uint8)),
    "drawing": drawing(),
    "smooth": Image(waves(300, 400)),
    "smooth 16 bits": Image(waves(300, 400, 4, 16)),
}


def check_sound(saved: Saved, image: Image, wanted: EnhanceSettings) -> None:
    """What holds whatever the target."""
    assert wanted.max_bytes is not None
    assert saved.max_bytes_met is (len(saved.data) <= wanted.max_bytes)
    assert 1 <= len(saved.attempts) <= MAX_ATTEMPTS
    assert len(saved.data) in {attempt.bytes for attempt in saved.attempts}
    assert saved.image.width >= min(wanted.min_width, image.width)
    assert saved.image.height >= min(wanted.min_height, image.height)
    assert saved.image.has_alpha == image.has_alpha
    assert saved.image.bit_depth == image.bit_depth
    assert all(a.quality is None or 90 <= a.quality <= wanted.quality for a in saved.attempts)
    assert all(0 < a.scale <= 1 for a in saved.attempts)
    assert bool(saved.reasons) == (not saved.max_bytes_met or saved.image.width < image.width)


@pytest.mark.parametrize("target", [1_000_000, 100_000, 25_000, 1_500])
@pytest.mark.parametrize("name", list(PICTURES))
def test_pictures_of_every_kind(name: str, target: int) -> None:
    image, wanted = PICTURES[name], SMALL.model_copy(update={"max_bytes": target})
    saved = save(image, wanted)
    check_sound(saved, image, wanted)
    back = decode(saved.data, name="x", limits=LimitSettings())
    assert (back.width, back.height) == (saved.image.width, saved.image.height)
    if target >= 25_000:
        assert len(saved.attempts) <= 9, [(a.format, a.quality, a.scale) for a in saved.attempts]
        assert saved.max_bytes_met, [(a.format, a.quality, a.scale, a.bytes) for a in saved.attempts]


def test_nothing_is_lost_where_a_lossless_file_is_small_enough() -> None:
    image = PICTURES["drawing"]
    first = save(image, SMALL.model_copy(update={"max_bytes": 1_000_000}))
    assert [(a.format, a.effort) for a in first.attempts] == [("PNG", "fast")]
    png = len(first.data)
    harder = save(image, SMALL.model_copy(update={"max_bytes": int(png * 0.6)}))
    assert harder.max_bytes_met
    assert harder.quality is None, harder.attempts
    assert harder.image is image


def test_the_highest_quality_that_fits() -> None:
    image = PICTURES["smooth"]
    sizes = {
        quality: len(save(image, EnhanceSettings(save_format_priority=("JPEG",), quality=quality)).data)
        for quality in range(90, 101)
    }
    for best in range(90, 100):
        target = (sizes[best] + sizes[best + 1]) // 2
        wanted = EnhanceSettings(save_format_priority=("JPEG",), quality=100, max_bytes=target)
        saved = save(image, wanted)
        assert saved.quality == best, f"target {target} of {sizes}"
        assert saved.image is image
        assert len(saved.attempts) <= 6


def test_quality_before_scale_and_alpha_never_lossy() -> None:
    image = PICTURES["noise RGBA"]
    saved = save(image, SMALL.model_copy(update={"max_bytes": 60_000}))
    assert saved.max_bytes_met
    assert {a.format for a in saved.attempts} == {"PNG", "WEBP"}
    assert all(a.quality is None for a in saved.attempts)
    assert saved.image.width < image.width
    opaque = save(PICTURES["noise RGB"], SMALL.model_copy(update={"max_bytes": 60_000}))
    order = [a.scale for a in opaque.attempts]
    full = [a for a in opaque.attempts if a.scale == 1]
    assert order == [1.0] * len(full) + order[len(full) :], "every quality is tried at full size first"
    assert min(a.quality for a in full if a.quality) == 90


@pytest.mark.parametrize("target", [20_000, 50_000, 90_000])
def test_no_smaller_than_needed(target: int) -> None:
    """The file fills most of what it may have, and a somewhat larger picture would not fit."""
    saved = save(PICTURES["noise RGB"], SMALL.model_copy(update={"max_bytes": target}))
    assert target * 0.85 <= len(saved.data) <= target
    scale = saved.image.width / 400
    too_large = [a.scale for a in saved.attempts if a.bytes > target and a.quality == saved.quality]
    assert min(too_large) > scale


def test_a_target_out_of_reach_is_reported_with_the_smallest_file() -> None:
    wanted = EnhanceSettings(min_width=200, min_height=150, max_bytes=2_000)
    saved = save(PICTURES["noise RGB"], wanted)
    assert saved.max_bytes_met is False
    assert (saved.image.width, saved.image.height) == (200, 150)
    assert len(saved.data) == min(a.bytes for a in saved.attempts)
    assert "max_bytes=2,000 not reached" in saved.reasons[0]
    assert "no less than 200x150 px" in saved.reasons[0]
    only_png = save(PICTURES["noise RGB"], wanted.model_copy(update={"save_format_priority": ("PNG",)}))
    assert "allow WEBP or JPEG" in only_png.reasons[0]


def test_a_picture_below_the_minimum_is_never_reduced() -> None:
    saved = save(PICTURES["noise RGB"], EnhanceSettings(max_bytes=10_000))
    assert saved.max_bytes_met is False
    assert saved.image.width == 400
    assert all(a.scale == 1 for a in saved.attempts)


def test_smaller_pictures_are_made_from_the_source() -> None:
    """Enlarged and reduced to where it was, the picture is the source itself, not a resize of a resize."""
    source = Image(noise(100, 100, 4))
    larger = replace(source, pixels=np.repeat(np.repeat(source.pixels, 2, axis=0), 2, axis=1))
    wanted = EnhanceSettings(min_width=100, min_height=100, max_bytes=1_000, save_format_priority=("PNG",))
    saved = save(larger, wanted, source=source)
    assert saved.image is source


def test_metadata_counts() -> None:
    """A profile of 60 kB leaves little for the picture; the search takes it into account."""
    rng = np.random.default_rng(1)
    image = replace(
        tagged(noise(300, 400)), exif=None, xmp=rng.integers(0, 256, 60_000).astype(np.uint8).tobytes()
    )
    saved = save(image, SMALL.model_copy(update={"max_bytes": 90_000}))
    assert saved.max_bytes_met
    assert len(saved.attempts) <= MAX_ATTEMPTS
    assert len(saved.data) > 80_000


def test_sixteen_bits_that_must_become_eight_do_so_at_every_scale() -> None:
    pixels = noise(300, 400).astype(np.uint16) * 257
    wanted = SMALL.model_copy(update={"max_bytes": 30_000, "save_format_priority": ("WEBP", "JPEG")})
    saved = save(Image(pixels), wanted, source=Image(pixels))
    assert saved.max_bytes_met
    assert saved.image.bit_depth == 8
    assert saved.image.width < 400
    assert "reduced to 8" in saved.reasons[0]


@pytest.mark.parametrize(("cliff", "expected"), [(60, 60), (61, 60), (300, 60), (700, 650), (799, 790)])
def test_a_cliff_where_no_law_holds(cliff: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that say nothing about where the target lies: met nevertheless, in the end by the least size."""

    def pretend(image: Image, encoding: Encoding) -> bytes:
        if encoding.quality != 90:
            return bytes(10_002)
        return bytes(5_000 if image.width <= cliff else 10_001)

    monkeypatch.setattr(module, "write", pretend)
    wanted = EnhanceSettings(min_width=60, min_height=1, max_bytes=10_000)
    saved = save(Image(np.zeros((400, 800, 3), np.uint8)), wanted)
    assert saved.max_bytes_met
    assert len(saved.attempts) <= MAX_ATTEMPTS
    assert expected <= saved.image.width <= cliff


@settings(deadline=None, max_examples=150)
@given(
    fixed=st.integers(0, 3_000),
    power=st.floats(0.7, 2.6),
    full_bytes=st.integers(5_000, 5_000_000),
    target=st.integers(1_000, 5_000_000),
    least=st.integers(16, 800),
    alpha=st.booleans(),
)
def test_any_law_of_growth(
    fixed: int, power: float, full_bytes: int, target: int, least: int, alpha: bool
) -> None:
    """With an encoder whose sizes follow a law that the search does not know: met wherever it can be met, and
    by a picture nearly as large as can be."""

    def size(encoding: Encoding, long_side: int) -> int:
        share = {"WEBP": 0.7, "JPEG": 0.8}.get(encoding.format, 1.0)
        quality = encoding.quality or 140
        return int(fixed + full_bytes * share * (quality / 140) ** 4 * (long_side / 800) ** power)

    def pretend(image: Image, encoding: Encoding) -> bytes:
        if encoding.format == "JPEG" and image.has_alpha:
            raise EncodeError("JPEG: expected an image without alpha")
        return bytes(size(encoding, max(image.width, image.height)))

    def shrink(image: Image, width: int, height: int, kernel: Any) -> Image:
        return Image(np.zeros((height, width, image.channels), np.uint8))

    assume(target >= fixed + 200)  # or the metadata leave no room for a picture
    image = Image(np.zeros((400, 800, 4 if alpha else 3), np.uint8), xmp=bytes(fixed) or None)
    wanted = EnhanceSettings(min_width=least, min_height=1, max_bytes=target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write", pretend)
        patch.setattr(module, "resample", shrink)
        saved = save(image, wanted)
    check_sound(saved, image, wanted)
    lowest = Encoding("WEBP", None if alpha else 90)
    fitting = [side for side in range(least, 801) if size(lowest, side) <= target]
    assert saved.max_bytes_met == bool(fitting)
    if saved.max_bytes_met and saved.image.width < 800:
        assert saved.image.width >= 0.75 * fitting[-1] - 2, f"{fitting[-1]} px would have fitted"
