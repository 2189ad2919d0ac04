"""What PNG's chunks say of the pixels: a transparent level or colour, Apple's variant, colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.colour import to_srgb8
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.metadata import icc_space
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources
from imgpipe_tests.images.sources import chunk

LIMITS = LimitSettings()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
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
        full = decoded.max_value
        assert np.array_equal(decoded.pixels[0, :, 0], samples * full // top)
        assert np.array_equal(decoded.pixels[0, :, 1], np.where(samples == level, 0, full)), level


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


SRGB_CORNERS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_CORNERS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
GAMMA = {
    name: chunk(b"gAMA", struct.pack(">I", value)) for name, value in {"1": 100_000, "1/2.2": 45_455}.items()
}
CORNERS = {
    name: chunk(b"cHRM", struct.pack(">8I", *v))
    for name, v in {"sRGB": SRGB_CORNERS, "P3": P3_CORNERS}.items()
}
SRGB_CHUNK = chunk(b"sRGB", b"\0")


def _srgb(stored: tuple[int, int, int], middle: bytes) -> tuple[list[int], tuple[str, ...]]:
    """A pixel as networks see it, and the notes."""
    pixels = np.full((4, 5, 3), stored, np.uint8)
    decoded = decode(sources.png_file(pixels, 2, middle=middle), name="colours", limits=LIMITS)
    assert np.array_equal(decoded.pixels, pixels)
    return to_srgb8(decoded)[0, 0].tolist(), decoded.notes


#: The stored middle grey 131 and P3's green, and what they are in sRGB, by IEC 61966-2-1's formula.
@pytest.mark.parametrize(
    ("middle", "stored", "shown", "named"),
    [
        (GAMMA["1"], (131, 131, 131), (190, 190, 190), "gAMA"),
        (GAMMA["1"] + CORNERS["sRGB"], (131, 131, 131), (190, 190, 190), "gAMA, cHRM"),
        (chunk(b"gAMA", struct.pack(">I", 55_556)), (131, 131, 131), (149, 149, 149), "gAMA"),
        (CORNERS["P3"], (18, 230, 39), (0, 234, 0), "cHRM"),
        (GAMMA["1/2.2"] + CORNERS["P3"], (18, 230, 39), (0, 234, 0), "gAMA, cHRM"),
        (chunk(b"cICP", bytes([12, 13, 0, 1])), (18, 230, 39), (0, 234, 0), "CICP 12/13"),
        (chunk(b"cICP", bytes([1, 8, 0, 1])), (131, 131, 131), (190, 190, 190), "CICP 1/8"),
        (chunk(b"cICP", bytes([12, 13, 0, 1])) + SRGB_CHUNK + GAMMA["1"], (18, 230, 39), (0, 234, 0), "CICP"),
    ],
)
def test_described_colours_become_a_profile(
    middle: bytes, stored: tuple[int, int, int], shown: tuple[int, int, int], named: str
) -> None:
    found, notes = _srgb(stored, middle)
    assert np.abs(np.subtract(found, shown)).max() <= 1, found
    assert len(notes) == 1
    assert notes[0].startswith("colour description carried as an ICC profile: ")
    assert named in notes[0]


@pytest.mark.parametrize(
    "middle",
    [
        b"",
        SRGB_CHUNK,
        SRGB_CHUNK + GAMMA["1"] + CORNERS["P3"],
        GAMMA["1/2.2"],
        chunk(b"gAMA", struct.pack(">I", 45_000)),
        GAMMA["1/2.2"] + CORNERS["sRGB"],
        CORNERS["sRGB"],
        chunk(b"cHRM", struct.pack(">8I", *(v - 1 for v in SRGB_CORNERS))),
        chunk(b"cICP", bytes([1, 13, 0, 1])) + GAMMA["1"],
    ],
)
def test_what_means_srgb_gets_no_profile(middle: bytes) -> None:
    assert _srgb((18, 131, 230), middle) == ([18, 131, 230], ())


def test_profile_and_description_together() -> None:
    """cICP stands above iCCP, iCCP above the rest (W3C PNG, third edition, 4.3)."""
    profile = sources.display_p3()
    embedded = chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))
    pixels = np.full((4, 5, 3), 131, np.uint8)
    lower = SRGB_CHUNK + GAMMA["1"] + CORNERS["sRGB"]
    decoded = decode(sources.png_file(pixels, 2, middle=embedded + lower), name="x", limits=LIMITS)
    assert (decoded.icc, decoded.notes) == (profile, ())
    above = chunk(b"cICP", bytes([1, 8, 0, 1]))
    decoded = decode(sources.png_file(pixels, 2, middle=embedded + lower + above), name="x", limits=LIMITS)
    assert to_srgb8(decoded)[0, 0].tolist() == [190, 190, 190]
    assert "ICC profile not carried: the PNG's cICP stands above it" in decoded.notes
    broken = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile at all"))
    decoded = decode(sources.png_file(pixels, 2, middle=broken + GAMMA["1"]), name="x", limits=LIMITS)
    assert to_srgb8(decoded)[0, 0].tolist() == [190, 190, 190]
    assert "ICC profile of 17 bytes not carried" in decoded.notes[0]


@pytest.mark.parametrize("depth", [8, 16])
def test_grey_with_a_gamma(depth: int) -> None:
    """Grey gets a grey profile, which survives being written again."""
    for channels, colour in ((1, 0), (2, 4)):
        pixels = sources.picture(channels, depth)
        decoded = decode(sources.png_file(pixels, colour, middle=GAMMA["1"]), name="grey", limits=LIMITS)
        assert icc_space(decoded.icc) == "GRAY"
        light = pixels[..., 0] / decoded.max_value
        expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        assert np.abs(to_srgb8(decoded)[..., 0] - expected).max() <= (1 if depth == 8 else 2)
        again = decode(encode(decoded, format="PNG", zero_transparent=False), name="again", limits=LIMITS)
        assert again.icc == decoded.icc
        assert np.array_equal(again.pixels, pixels)


@pytest.mark.parametrize(
    ("middle", "note"),
    [
        (chunk(b"gAMA", struct.pack(">I", 0)), "impossible"),
        (chunk(b"gAMA", struct.pack(">I", 1)), "impossible"),
        (chunk(b"cHRM", struct.pack(">8I", *[30000] * 8)), "impossible"),
        (chunk(b"gAMA", b"\0"), "PNG chunk gAMA ignored: it has 1 bytes"),
        (chunk(b"cICP", bytes([12, 13, 0, 0])), "only RGB of the full range"),
        (chunk(b"cICP", bytes([12, 13, 1, 1])), "only RGB of the full range"),
        (chunk(b"cICP", bytes([77, 13, 0, 1])), "CICP 77/13 is not known"),
        (GAMMA["1"][:-1] + b"\0", "PNG chunk gAMA ignored: its CRC is wrong"),
        (chunk(b"mDCV", b"\0" * 24), "PNG chunk mDCV (limits of an HDR display) not carried"),
    ],
)
def test_descriptions_that_cannot_be_followed_are_noted(middle: bytes, note: str) -> None:
    found, notes = _srgb((18, 131, 230), middle)
    assert found == [18, 131, 230]
    assert len(notes) == 1
    assert note in notes[0]


def test_a_description_behind_the_pixels_is_ignored() -> None:
    plain = sources.png_file(np.full((4, 5, 3), 131, np.uint8), 2)
    decoded = decode(plain[:-12] + GAMMA["1"] + plain[-12:], name="late", limits=LIMITS)
    assert decoded.icc is None
    assert decoded.notes == ("PNG chunk gAMA ignored: it stands behind the pixels",)


@pytest.mark.shared
def test_the_handed_file_with_a_gamma(shared: Path) -> None:
    data = (shared / "cases" / "images" / "colour-description-dropped" / "gama1.png").read_bytes()
    decoded = decode(data, name="gama1.png", limits=LIMITS)
    light = decoded.pixels / 255
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(to_srgb8(decoded) - expected).max() <= 1
