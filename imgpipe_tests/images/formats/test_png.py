"""What PNG's chunks say of the pixels: a transparent level or colour, Apple's variant, colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources
from imgpipe_tests.images.sources import chunk

LIMITS = LimitSettings()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_only_the_low_bits_of_a_transparent_level_count(depth: int) -> None:
    """W3C PNG, third edition, 11.3.1.1: two bytes, of which samples below 16 bits use the low bits."""
    top = (1 << depth) - 1
    samples = np.arange(16) % (top + 1)
    bits = "".join(f"{value:0{depth}b}" for value in samples)
    head = struct.pack(">IIBBBBB", 16, 1, depth, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")))
    for level in {0, 1, top}:
        stated = chunk(b"tRNS", struct.pack(">H", (0xFFFF << depth & 0xFFFF) | level))
        parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), stated, pixels, chunk(b"IEND", b"")]
        decoded = decode(b"".join(parts), name="grey", limits=LIMITS)
        assert np.array_equal(decoded.pixels[0, :, 0], samples * 255 // top)
        assert np.array_equal(decoded.pixels[0, :, 1], np.where(samples == level, 0, 255)), level


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour(depth: int) -> None:
    pixels = sources.picture(3, depth)
    pixels[3:5, 2:9] = (10, 20, 30)
    high = 0xFF00 if depth == 8 else 0
    stated = chunk(b"tRNS", struct.pack(">3H", *(high | value for value in (10, 20, 30))))
    decoded = decode(sources.png_file(pixels, 2, middle=stated), name="colour", limits=LIMITS)
    hidden = (pixels == (10, 20, 30)).all(axis=2)
    assert hidden.sum() == 14
    assert np.array_equal(decoded.pixels[..., 3], np.where(hidden, 0, decoded.max_value))
    assert np.array_equal(decoded.pixels[..., :3], pixels)


@pytest.mark.shared
def test_handed_files_with_a_transparent_level(shared: Path) -> None:
    """The first pixel is at that level; the mean alpha is libvips'."""
    for name in ("grey_trns.png", "grey_trns_hibits.png"):
        data = (shared / "cases" / "images" / "png-trns-high-bits" / name).read_bytes()
        decoded = decode(data, name=name, limits=LIMITS)
        assert decoded.pixels[0, 0].tolist() == [89, 0]
        assert round(float(decoded.pixels[..., 1].mean()), 1) == 237.4


def test_apples_variant_is_unsupported_and_not_damaged() -> None:
    plain = sources.png_file(sources.picture(4, 8), 6)
    data = plain[:8] + chunk(b"CgBI", b"\x50\0\x20\x02") + plain[8:]
    with pytest.raises(UnsupportedFormat, match=r"^icon\.png: .*CgBI.*convert it"):
        decode(data, name="icon.png", limits=LIMITS)
