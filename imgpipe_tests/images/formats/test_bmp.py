"""BMP of every header, depth, mask and packing, laid out by hand; right values by arithmetic."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources

LIMITS = LimitSettings()
COLOURS = np.random.default_rng(4).integers(0, 256, (256, 3)).astype(np.uint8)


def bmp_file(pixels: bytes, size: tuple[int, int], bits: int, **more: Any) -> bytes:
    """``pixels`` as they stand in the file, behind an information header.

    ``header``: its bytes. ``compression``. ``masks``: in the header or behind it. ``palette``: (n, 3) RGB.
    ``space``: four letters of a V4 header. ``profile``: behind the pixels.
    """
    header, masks, palette = more.get("header", 40), more.get("masks", ()), more.get("palette", COLOURS[:0])
    stated, compression = struct.pack(f"<{len(masks)}I", *masks), more.get("compression", 0)
    if header == 12:
        info = struct.pack("<IHHHH", 12, *size, 1, bits)
        table = palette[:, ::-1].tobytes()
    else:
        info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, 0, 0, 0, len(palette), 0)
        table = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()
        info = struct.pack("<I", header) + (info[4:] + stated if header > 40 else info[4:]).ljust(120, b"\0")
        info = info[:header] + (stated if header == 40 else b"")
    profile = more.get("profile", b"")
    if header >= 108:
        info = info[:56] + more.get("space", b"BGRs") + info[60:]
    if header == 124 and profile:
        at = len(info) + len(table) + len(pixels)
        info = info[:112] + struct.pack("<II", at, len(profile)) + info[120:]
    start = 14 + len(info) + len(table)
    end = start + len(pixels) + len(profile)
    return b"BM" + struct.pack("<IHHI", end, 0, 0, start) + info + table + pixels + profile


def rows_of(samples: Any, bits: int) -> bytes:
    """(height, width) numbers of ``bits`` bits, bottom row first, each row padded to four bytes."""
    height = len(samples)
    if bits < 8:
        spread = samples[..., None] >> np.arange(bits - 1, -1, -1) & 1
        packed = np.packbits(spread.astype(np.uint8).reshape(height, -1), axis=1)
    else:
        parts = [samples >> shift & 255 for shift in range(0, bits, 8)]
        packed = np.stack(parts, axis=2).astype(np.uint8).reshape(height, -1)
    return bytes(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))[::-1].tobytes())


def read(data: bytes) -> Image:
    return decode(data, name="x.bmp", limits=LIMITS)


@pytest.mark.parametrize("header", [12, 16, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits: int, header: int) -> None:
    indices = np.random.default_rng(bits).integers(0, 1 << bits, (5, 13))
    palette = COLOURS[: 1 << bits]
    decoded = read(bmp_file(rows_of(indices, bits), (13, 5), bits, header=header, palette=palette))
    assert np.array_equal(decoded.pixels, palette[indices])
    assert decoded.notes == ()


def test_short_grey_and_missing_palettes() -> None:
    indices = np.arange(12).reshape(3, 4)
    short = read(bmp_file(rows_of(indices, 8), (4, 3), 8, palette=COLOURS[:9]))
    assert np.array_equal(short.pixels, np.pad(COLOURS[:9], ((0, 3), (0, 0)))[indices])
    grey = np.repeat(COLOURS[:16, :1], 3, axis=1)
    assert np.array_equal(
        read(bmp_file(rows_of(indices, 4), (4, 3), 4, palette=grey)).pixels, grey[indices][..., :1]
    )
    with pytest.raises(DecodeError, match="pixels take 12 bytes from byte 1078"):
        read(bmp_file(rows_of(indices, 8), (4, 3), 8))


#: bits, (red, green, blue, alpha), header, compression.
MASKED = {
    "usual 16": (16, (), 40, 0),
    "usual 24": (24, (), 12, 0),
    "usual 32": (32, (), 40, 0),
    "565 behind the header": (16, (0xF800, 0x7E0, 0x1F), 40, 3),
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0), 52, 3),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000), 108, 3),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000), 56, 3),
    "4444 other order": (16, (0xF000, 0xF00, 0xF0, 0xF), 124, 3),
    "231": (16, (0x30, 0xE, 0x1, 0), 108, 3),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 124, 3),
    "8888 other order": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), 56, 3),
    "8888 behind the header": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), 40, 6),
    "8888 without compression 3": (32, (0, 0, 0, 0xFF000000), 124, 0),
    "888 at odd bits": (32, (0x1FE00000, 0x1FE000, 0x1FE0), 40, 3),
    "24 with masks": (24, (0xFF, 0xFF00, 0xFF0000), 40, 3),
    "10 10 10": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0), 108, 3),
    "10 10 10 2": (32, (0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000), 124, 3),
    "11 11 10": (32, (0xFFE00000, 0x1FFC00, 0x3FF), 40, 3),
    "16 8 8": (32, (0xFFFF0000, 0xFF00, 0xFF), 40, 3),
    "no red": (32, (0, 0xFF00, 0xFF, 0), 108, 3),
}
USUAL = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}


@pytest.mark.parametrize("name", MASKED)
def test_masks(name: str) -> None:
    """Each mask's v becomes v * 255 / (2^n - 1), or v * 65535 / (2^n - 1) where one has more than 8 bits."""
    bits, stated, header, compression = MASKED[name]
    masks = stated if compression else (*USUAL[bits][:3], *stated[3:])
    masks = masks if len(masks) == 4 and masks[3] else masks[:3]
    words = np.random.default_rng(1).integers(0, 1 << bits, (7, 9))
    full = 65535 if max(mask.bit_count() for mask in masks) > 8 else 255
    expected = np.zeros((7, 9, len(masks)))
    for channel, mask in enumerate(masks):
        if mask:
            lowest = (mask & -mask).bit_length() - 1
            expected[..., channel] = np.floor(((words & mask) >> lowest) * full / (mask >> lowest) + 0.5)
    data = bmp_file(rows_of(words, bits), (9, 7), bits, masks=stated, header=header, compression=compression)
    decoded = read(data)
    assert decoded.max_value == full
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.notes == ()
    flipped = data[:22] + struct.pack("<i", -7) + data[26:] if header > 12 else data
    assert np.array_equal(read(flipped).pixels, expected[::-1] if header > 12 else expected)


@pytest.mark.parametrize(("bits", "alpha"), [(16, 0x8000), (16, 0xF000), (32, 0xFF000000)])
def test_alpha_that_is_0_everywhere_means_opaque(bits: int, alpha: int) -> None:
    masks = (0xF00, 0xF0, 0xF, alpha) if bits == 16 else (0xFF0000, 0xFF00, 0xFF, alpha)
    words = np.random.default_rng(1).integers(0, 1 << bits, (7, 9)) & ~alpha
    data = bmp_file(rows_of(words, bits), (9, 7), bits, masks=masks, header=124, compression=3)
    decoded = read(data)
    assert decoded.channels == 3
    assert decoded.notes == ("alpha of the BMP is 0 everywhere: taken for opaque",)
    words[3, 3] |= alpha
    data = bmp_file(rows_of(words, bits), (9, 7), bits, masks=masks, header=124, compression=3)
    shown = read(data).alpha
    assert shown is not None
    assert shown[3, 3] == 255
    assert np.count_nonzero(shown) == 1


#: width 5, height 3, as it stands in the file: bottom row first. Palette index or colour -> pixels.
RUNS = {
    "RLE8 whole": (8, 1, b"\5\1\0\0\5\2\0\0\5\3\0\0\0\1", ["33333", "22222", "11111"]),
    "RLE8 ends early": (8, 1, b"\5\1\0\0\2\2\0\1", ["00000", "22000", "11111"]),
    "RLE8 lines end early": (8, 1, b"\2\1\0\0\0\0\1\3\0\1", ["30000", "00000", "11000"]),
    "RLE8 without the end": (8, 1, b"\5\1\0\0\5\2\0\0\5\3", ["33333", "22222", "11111"]),
    "RLE8 as they are": (8, 1, b"\0\3\1\2\3\0\2\4\0\1", ["00000", "00000", "12344"]),
    "RLE8 delta": (8, 1, b"\2\1\0\2\1\1\2\2\0\1", ["00000", "00022", "11000"]),
    "RLE4 whole": (4, 2, b"\5\x12\0\0\5\x34\0\0\5\x50\0\1", ["50505", "34343", "12121"]),
    "RLE4 as they are": (4, 2, b"\0\5\x12\x34\x50\0\0\1", ["00000", "00000", "12345"]),
    "RLE4 fills up a pair": (4, 2, b"\6\x12\0\0\0\1", ["00000", "00000", "12121"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_run_length_encoding(name: str) -> None:
    bits, compression, runs, expected = RUNS[name]
    data = bmp_file(runs, (5, 3), bits, compression=compression, palette=COLOURS[:16])
    indices = np.array([[int(index) for index in row] for row in expected])
    assert np.array_equal(read(data).pixels, COLOURS[indices])
    assert read(data).notes == ()


def test_a_run_that_goes_past_its_row_is_cut_off_with_a_note() -> None:
    data = bmp_file(b"\x09\1\0\0\5\2\0\1", (5, 3), 8, compression=1, palette=COLOURS[:16])
    assert np.array_equal(read(data).pixels, COLOURS[np.array([[0] * 5, [2] * 5, [1] * 5])])
    assert read(data).notes == ("1 runs of the BMP go past the end of their row: cut off",)


def test_a_start_of_pixels_that_leaves_no_room_for_the_palette_is_wrong() -> None:
    indices = np.arange(12).reshape(3, 4)
    data = bytearray(bmp_file(rows_of(indices, 8), (4, 3), 8, palette=COLOURS[:16]))
    for start in (0, 54):
        data[10:14] = struct.pack("<I", start)
        assert np.array_equal(read(bytes(data)).pixels, COLOURS[indices])


def test_run_length_encoding_of_os2_in_24_bits() -> None:
    runs = b"\5abc\0\0" + b"\0\3abcdefghi\0" + b"\2xyz" + b"\0\1"
    decoded = read(bmp_file(runs, (5, 3), 24, compression=4, header=64))
    text = [b"\0" * 15, b"abcdefghixyzxyz", b"abc" * 5]
    assert np.array_equal(decoded.pixels, np.array([list(row) for row in text]).reshape(3, 5, 3)[..., ::-1])
    assert decoded.notes == ()


@pytest.mark.parametrize(
    "runs",
    [
        *(b"\5\1\0\0\5\2", b"\5\1\0\0\0\5\1\2", b"\5", b"", b"\5\1\0\2\1"),
        b"\0\7" + b"\1" * 8 + b"\0\1",
    ],
)
def test_runs_that_are_cut_off_or_too_long_are_damage(runs: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^x\.bmp: .*fetch or export it again"):
        read(bmp_file(runs, (5, 3), 8, compression=1, palette=COLOURS[:16]))


def test_missing_rows_are_damage_and_missing_padding_is_not() -> None:
    words = np.arange(15).reshape(3, 5)
    data = bmp_file(rows_of(words, 24), (5, 3), 24)
    assert np.array_equal(read(data[:-1]).pixels, read(data).pixels)
    with pytest.raises(DecodeError, match="pixels take 47 bytes"):
        read(data[:-2])


@pytest.mark.parametrize(
    ("bits", "more"),
    [
        (24, {"compression": 4, "header": 124}),
        (0, {"compression": 5, "header": 124}),
        (16, {"compression": 3, "header": 64}),
        (64, {}),
        (8, {"compression": 2}),
        (32, {"compression": 11}),
        (32, {"compression": 3, "masks": (0xFF00FF, 0xFF00, 0xFF)}),
    ],
)
def test_sound_files_of_other_kinds_are_not_called_damaged(bits: int, more: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFormat, match=r"^x\.bmp: expected .*convert"):
        read(bmp_file(b"\0" * 400, (5, 3), bits, **more))


def test_the_profile_is_carried_or_named() -> None:
    words = np.zeros((3, 5), np.int64)
    options = {"header": 124, "masks": (0, 0, 0, 0)}
    profile = sources.display_p3()
    plain = bmp_file(rows_of(words, 24), (5, 3), 24, **options, space=b"DEBM", profile=profile)
    assert read(plain).icc == profile
    assert read(plain).notes == ()
    assert f"ICC profile of {len(profile)} bytes not carried" in read(plain[:-20]).notes[0]
    linked = bmp_file(rows_of(words, 24), (5, 3), 24, **options, space=b"KNIL", profile=b"C:\\p3.icc\0")
    assert read(linked).icc is None
    assert read(linked).notes == ("ICC profile not carried: the BMP only names a file of it",)
    assert read(bmp_file(rows_of(words, 24), (5, 3), 24, **options, space=b" niW")).notes == ()


@pytest.mark.shared
def test_handed_files(shared: Path) -> None:
    folder = shared / "cases" / "images" / "bmp"
    early = read((folder / "rle8_eol_early.bmp").read_bytes())
    assert early.pixels.shape[2] in (1, 3)
    profiled = read((folder / "v5_icc.bmp").read_bytes())
    assert profiled.pixels[0, 0].tolist() == [250, 20, 20]
    assert profiled.icc is not None
    assert profiled.icc[36:40] == b"acsp"
