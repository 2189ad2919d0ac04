"""Floors are met by larger pictures, then by less compression, or reported as missed with the reason."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from imgpipe.config import load_settings
from imgpipe.enhancement import workbench as module
from imgpipe.enhancement.formats import Encoding
from imgpipe.enhancement.saving import save
from imgpipe.enhancement.workbench import MAX_ATTEMPTS
from imgpipe.errors import ConfigError
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe_tests.enhancement.pictures import noise, tagged, waves

LIMITS = LimitSettings()


def test_a_larger_picture_before_less_compression() -> None:
    image = Image(noise(60, 80))
    plain = len(save(image, EnhanceSettings()).data)
    saved = save(image, EnhanceSettings(min_bytes=4 * plain))
    assert saved.min_bytes_met is True
    assert 4 * plain <= len(saved.data) <= 1.15 * 4 * plain, "no larger than asked for"
    assert saved.attempts[-1].effort == "fast", "as compressed as ever"
    assert saved.image.width / saved.image.height == pytest.approx(80 / 60, abs=0.02)
    size = f"{saved.image.width}x{saved.image.height}"
    assert saved.reasons == (f"enlarged from 80x60 to {size} px for enhance.min_bytes={4 * plain:,}",)
    assert len(saved.attempts) <= 5


def test_a_file_that_is_large_enough_stays_as_it_is() -> None:
    image = Image(noise(60, 80))
    plain, floored = save(image, EnhanceSettings()), save(image, EnhanceSettings(min_bytes=1000))
    assert (floored.data, floored.reasons, floored.min_bytes_met) == (plain.data, (), True)
    assert plain.min_bytes_met is None


def chunks(data: bytes) -> dict[bytes, bytes]:
    """PNG's chunks by kind, those of one kind joined."""
    found: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        found[kind] = found.get(kind, b"") + data[at + 8 : at + 8 + length]
        at += 12 + length
    assert at == len(data), "nothing behind the last chunk"
    return found


def test_less_compression_is_no_padding() -> None:
    """A flat picture: the file holds its pixels and nothing else, whatever it takes to be large enough."""
    image = Image(np.full((300, 400, 3), 77, np.uint8))
    saved = save(image, EnhanceSettings(min_bytes=300_000), limits=LimitSettings(max_output_pixels=120_000))
    assert saved.min_bytes_met is True
    assert len(saved.data) >= 300_000
    assert "PNG written without compression for enhance.min_bytes=300,000" in saved.reasons
    parts = chunks(saved.data)
    assert set(parts) == {b"IHDR", b"IDAT", b"IEND"}
    assert len(zlib.decompress(parts[b"IDAT"])) == 300 * (1 + 400 * 3), "a filter's byte and the row's pixels"
    assert np.array_equal(decode(saved.data, name="x", limits=LIMITS).pixels, image.pixels)


@pytest.mark.parametrize(("channels", "priority"), [(3, ("JPEG",)), (3, ("WEBP",)), (4, ("WEBP", "PNG"))])
def test_formats_with_less_to_give(channels: int, priority: tuple[Any, ...]) -> None:
    """Where the picture may not grow: quality 100, then lossless, then PNG, if the priority has them."""
    image = Image(waves(150, 200, channels))
    plain = len(save(image, EnhanceSettings(save_format_priority=priority)).data)
    wanted = EnhanceSettings(save_format_priority=priority, min_bytes=int(plain * 1.2))
    saved = save(image, wanted, limits=LimitSettings(max_output_pixels=1))
    assert saved.min_bytes_met is True
    assert len(saved.data) >= plain * 1.2
    assert saved.image is image
    assert saved.quality in (100, None)


def test_a_floor_out_of_reach_changes_nothing_and_says_why() -> None:
    image, usual = Image(waves(30, 40)), EnhanceSettings(save_format_priority=("JPEG",))
    wanted = EnhanceSettings(save_format_priority=("JPEG",), min_bytes=500_000)
    saved = save(image, wanted, limits=LimitSettings(max_output_pixels=4_000))
    plain = save(image, usual)
    assert (saved.data, saved.min_bytes_met) == (plain.data, False)
    (reason,) = saved.reasons
    assert "enhance.min_bytes=500,000 not reached: the largest of" in reason
    assert "limits.max_output_pixels=4,000" in reason
    assert "allow PNG" in reason
    assert max(attempt.scale for attempt in saved.attempts) > 1.5, "larger ones were tried"


def test_floor_and_ceiling_hold_together() -> None:
    image = Image(noise(60, 80))
    plain = len(save(image, EnhanceSettings()).data)
    both = EnhanceSettings(min_bytes=3 * plain, max_bytes=int(3.2 * plain))
    saved = save(image, both)
    assert (saved.min_bytes_met, saved.max_bytes_met) == (True, True)
    assert 3 * plain <= len(saved.data) <= 3.2 * plain


def test_the_ceiling_counts_where_both_cannot_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that jumps over what lies between the two."""

    def jump(image: Image, encoding: Encoding) -> bytes:
        return bytes(50_000 if image.width > 80 or encoding.effort != "fast" else 1_500)

    monkeypatch.setattr(module, "write", jump)
    wanted = EnhanceSettings(save_format_priority=("PNG",), min_bytes=2_000, max_bytes=3_000)
    saved = save(Image(noise(60, 80)), wanted)
    assert (len(saved.data), saved.min_bytes_met, saved.max_bytes_met) == (1_500, False, True)
    assert "more are above enhance.max_bytes=3,000" in saved.reasons[0]
    assert len(saved.attempts) <= MAX_ATTEMPTS


def test_a_floor_above_the_ceiling_is_refused() -> None:
    expected = r"min_bytes \(2,000,000\) must not be above max_bytes \(1,000,000\)"
    with pytest.raises(ConfigError, match=expected):
        load_settings({"QUALITY_TARGET_BYTES": 2_000_000, "enhance.max_bytes": 1_000_000})


@pytest.mark.parametrize(
    "given",
    [
        {"QUALITY_TARGET_BYTES": 1_000_000},
        {"min_file_size_bytes": 1_000_000},
        {"enhance": {"target_bytes": 1_000_000}},
        {"enhance.target_file_size": 1_000_000},
    ],
)
def test_every_name_of_the_target_is_a_floor(given: dict[str, Any]) -> None:
    wanted = load_settings(given).enhance
    assert (wanted.min_bytes, wanted.max_bytes) == (1_000_000, None)


def test_metadata_and_bits_stay() -> None:
    image = tagged(waves(60, 80, 4, 16))
    plain = len(save(image, EnhanceSettings()).data)
    saved = save(image, EnhanceSettings(min_bytes=2 * plain))
    back = decode(saved.data, name="x", limits=LIMITS)
    assert len(saved.data) >= 2 * plain
    assert (back.icc, back.xmp, back.bit_depth, back.channels) == (image.icc, image.xmp, 16, 4)
