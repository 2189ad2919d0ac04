"""TIFF layouts, packings and depths against the pixels that tifffile or Pillow were given to write."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.directories import Field, TiffBytes
from imgpipe.images.formats.tiff import with_directory, with_strips
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import hostile, sources

LIMITS = LimitSettings()


def _written(pixels: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_layouts(order: Any, planar: str, tile: tuple[int, int] | None, big: bool) -> None:
    """Byte order x planes x tiles x BigTIFF, each for 8 and 16 bits, 2 to 5 samples, packed or not."""
    rng = np.random.default_rng(1)
    kinds = [(2, "minisblack", ["unassalpha"]), (3, "rgb", None), (4, "rgb", ["unassalpha"])]
    kinds.append((5, "rgb", ["unassalpha", "unspecified"]))
    dtype: Any
    for dtype, (samples, photometric, extra), packed in itertools.product(
        (np.uint8, np.uint16), kinds, (0, 1)
    ):
        pixels = rng.integers(0, np.iinfo(dtype).max, (35, 47, samples), dtype, endpoint=True)
        buffer = io.BytesIO()
        stored = pixels if planar == "contig" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        options: dict[str, Any] = {"compression": "zlib", "predictor": True} if packed else {}
        if tile is None:
            options["rowsperstrip"] = 8
        tifffile.imwrite(
            buffer,
            stored,
            photometric=photometric,
            planarconfig=planar,
            extrasamples=extra,
            tile=tile,
            byteorder=order,
            bigtiff=big,
            **options,
        )
        decoded = decode(buffer.getvalue(), name="layout", limits=LIMITS)
        assert np.array_equal(decoded.pixels, pixels[..., :4]), (dtype, samples, packed)


def test_premultiplied_tiff_becomes_straight() -> None:
    for dtype in (np.uint8, np.uint16):
        top = int(np.iinfo(dtype).max)
        straight = sources.picture(4, dtype().itemsize * 8)
        alpha = straight[..., 3:].astype(np.float64) / top
        stored = straight.copy()
        stored[..., :3] = np.round(straight[..., :3] * alpha)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, stored, photometric="rgb", extrasamples=["assocalpha"])
        decoded = decode(buffer.getvalue(), name="premultiplied", limits=LIMITS)
        allowed = 1.0 + 1.0 / np.maximum(alpha, 1e-6)
        assert (np.abs(decoded.pixels[..., :3] - straight[..., :3].astype(float)) <= allowed).all()


@pytest.mark.parametrize("packing", ["lzw", "packbits", "lzma", "zstd", "jpeg2000", "webp"])
def test_lossless_packings(packing: str) -> None:
    pixels = sources.picture(3, 8)
    options = {"compressionargs": {"lossless": True}} if packing == "webp" else {}
    data = _written(pixels, photometric="rgb", compression=packing, **options)
    assert np.array_equal(decode(data, name="packed", limits=LIMITS).pixels, pixels)


@pytest.mark.parametrize("packing", ["group3", "group4", "tiff_ccitt"])
def test_bilevel_packings(packing: str) -> None:
    picture = PIL.Image.fromarray(sources.picture(1, 8)[..., 0]).convert("1")
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression=packing)
    decoded = decode(buffer.getvalue(), name="fax", limits=LIMITS)
    assert np.array_equal(decoded.pixels[..., 0], np.asarray(picture.convert("L")))


def test_jpeg_strips_as_pillow_reads_them() -> None:
    for mode in ("L", "RGB", "YCbCr", "CMYK"):
        picture = PIL.Image.fromarray(sources.picture(3, 8)).convert(mode)
        buffer = io.BytesIO()
        picture.save(buffer, "TIFF", compression="jpeg")
        decoded = decode(buffer.getvalue(), name="jpeg", limits=LIMITS)
        with PIL.Image.open(buffer) as opened:
            expected = np.asarray(opened if mode != "YCbCr" else opened.convert("RGB")).astype(float)
        if mode == "CMYK":
            expected = expected[..., :3] * -1 + 255  # black is 0 where Pillow converts from RGB
        assert np.abs(decoded.pixels.squeeze() - expected).max() <= 1.0, mode


def test_plain_ycbcr_becomes_rgb() -> None:
    """ITU-R BT.601, full range, as TIFF 6.0, section 21, has it by default."""
    pixels = sources.picture(3, 8)
    y, cb, cr = (pixels[..., k].astype(float) - (128 if k else 0) for k in range(3))
    expected = np.dstack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    decoded = decode(_written(pixels, photometric="ycbcr"), name="ycbcr", limits=LIMITS)
    assert np.abs(decoded.pixels - np.clip(expected, 0, 255)).max() <= 1.0


UNSPECIFIED = "a TIFF sample of no stated kind read as alpha"


@pytest.mark.parametrize(
    ("photometric", "colours", "kinds", "alpha", "note"),
    [
        ("rgb", 3, [0], 0, UNSPECIFIED),
        ("minisblack", 1, [0], 0, UNSPECIFIED),
        ("miniswhite", 1, [0], 0, UNSPECIFIED),
        ("rgb", 3, [0, 0], 0, UNSPECIFIED),
        ("rgb", 3, [0, 2], 1, ""),
        ("minisblack", 1, [0, 2], 1, ""),
        ("rgb", 3, [2, 0], 0, ""),
        ("separated", 4, [0], 0, UNSPECIFIED),
        ("separated", 4, [2], 0, ""),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_which_extra_sample_is_alpha(
    photometric: str, colours: int, kinds: list[int], alpha: int, note: str, dtype: Any
) -> None:
    """A declared one, else the first of no stated kind, as libvips, libtiff and OpenCV read it."""
    pixels = sources.picture(colours + len(kinds), dtype().itemsize * 8)
    options = {"photometric": photometric, "planarconfig": "contig", "extrasamples": kinds}
    decoded = decode(_written(pixels, **options), name="extra", limits=LIMITS)
    expected = pixels[..., colours + alpha]
    if photometric == "separated" and dtype == np.uint16:  # colours are converted in 8 bits
        expected = np.round(expected / 257)
    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, expected)
    if photometric != "separated":
        top = np.iinfo(dtype).max if photometric == "miniswhite" else 0
        assert np.array_equal(decoded.colour, np.abs(top - pixels[..., :colours].astype(int)))
    left_out = f"{len(kinds) - 1} TIFF samples that are neither colour nor alpha left out"
    assert (note in decoded.notes) == bool(note)
    assert (left_out in decoded.notes) == (len(kinds) > 1)


def test_an_extra_sample_that_is_0_everywhere_is_no_alpha() -> None:
    """Unless it is declared so: nothing of the picture would be left."""
    pixels = sources.picture(4, 8)
    pixels[..., 3] = 0
    decoded = decode(
        _written(pixels, photometric="rgb", extrasamples=["unspecified"]), name="0", limits=LIMITS
    )
    assert np.array_equal(decoded.pixels, pixels[..., :3])
    assert decoded.notes == ("1 TIFF samples that are neither colour nor alpha left out",)
    declared = decode(
        _written(pixels, photometric="rgb", extrasamples=["unassalpha"]), name="0", limits=LIMITS
    )
    assert declared.alpha is not None
    assert not declared.alpha.any()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["rgba_extra0.tif", "rgba16_extra0.tif"])
def test_handed_files_with_an_extra_sample(shared: Path, name: str) -> None:
    data = (shared / "cases" / "images" / "tiff-extrasamples-0" / name).read_bytes()
    decoded = decode(data, name=name, limits=LIMITS)
    assert (decoded.pixels[0, 0] == np.array([250, 20, 20, 128]) * (decoded.max_value // 255)).all()


@pytest.mark.shared
def test_handed_files_with_colour_maps_and_packings(shared: Path) -> None:
    """The first pixel is 250 20 20 in each."""
    for name in ("tiff-8bit-colormap/pal.tif", "tiff-8bit-colormap/pal_8bitmap.tif"):
        data = (shared / "cases" / "images" / name).read_bytes()
        assert decode(data, name=name, limits=LIMITS).pixels[0, 0].tolist() == [250, 20, 20]
    for name in ("c_jpeg2000.tif", "c_webp.tif"):
        data = (shared / "cases" / "images" / "sound-files-called-damaged" / name).read_bytes()
        decoded = decode(data, name=name, limits=LIMITS)
        assert decoded.pixels[0, 0].tolist() == [250, 20, 20]
        assert np.allclose(decoded.pixels.mean((0, 1)), [127.13, 128.35, 115.17], atol=0.01)  # by libvips


def bare_tiff(pixels: Any, bits: int, photometric: int, **more: Any) -> bytes:
    """A TIFF in one strip, laid out by hand: samples of any number of bits, the high bit first, rows padded.

    ``extra``: kinds of extra samples. ``as_bytes``: small numbers as BYTE. ``colours``: colour map.
    """
    height, width, samples = pixels.shape
    shifts = np.arange(bits - 1, -1, -1)
    spread = (pixels.reshape(height, -1, 1).astype(np.uint32) >> shifts & 1).astype(np.uint8)
    strip = np.packbits(spread.reshape(height, -1), axis=1).tobytes()
    fields = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric]}
    fields |= {273: [8], 277: [samples], 278: [height], 279: [len(strip)], 284: [1]}
    if "extra" in more:
        fields[338] = more["extra"]
    if "colours" in more:
        fields[320] = more["colours"].ravel().tolist()
    body = strip + b"\0" * (len(strip) % 2)
    entries = b""
    for tag, values in sorted(fields.items()):
        kind, form = (1, "B") if more.get("as_bytes") and max(values) < 256 and tag > 257 else (3, "H")
        raw = struct.pack(f"<{len(values)}{form}", *values)
        if len(raw) > 4:
            place = struct.pack("<I", 8 + len(body))
            body += raw + b"\0" * (len(raw) % 2)
            raw = place
        entries += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    return head + body + struct.pack("<H", len(fields)) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14])
def test_numbers_of_bits(bits: int, as_bytes: bool) -> None:
    """1 to 4 samples of any depth; a layout's numbers may be stored as BYTE too (TIFF 6.0, section 2)."""
    top, full = (1 << bits) - 1, 255 if bits <= 8 else 65535
    for samples, photometric in ((1, 0), (1, 1), (2, 0), (2, 1), (3, 2), (4, 2)):
        stored = np.random.default_rng(bits).integers(0, top + 1, (21, 19, samples))
        extra = {"extra": [2]} if samples % 2 == 0 else {}
        data = bare_tiff(stored, bits, photometric, as_bytes=as_bytes, **extra)
        expected = np.floor(stored * (full / top) + 0.5)
        if photometric == 0:
            expected[..., 0] = full - expected[..., 0]
        decoded = decode(data, name="bits", limits=LIMITS)
        assert decoded.notes == ()
        assert np.array_equal(decoded.pixels, expected), (samples, photometric)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palettes_of_all_sizes_with_and_without_alpha(bits: int, scale: int) -> None:
    rng = np.random.default_rng(bits)
    colours = rng.integers(0, 256, (3, 1 << bits))
    colours[0, 0] = 255
    stored = rng.integers(0, 1 << bits, (9, 13, 2))
    alpha = stored[..., 1:] * (255 // ((1 << bits) - 1))
    for kind in ([2], [0], None):
        extra = {} if kind is None else {"extra": kind}
        shown = stored[..., : 1 if kind is None else 2]
        data = bare_tiff(shown, bits, 3, colours=colours * scale, **extra)
        expected = colours.T[stored[..., 0]]
        expected = expected if kind is None else np.concatenate([expected, alpha], axis=2)
        decoded = decode(data, name="palette", limits=LIMITS)
        assert np.array_equal(decoded.pixels, expected), kind
        assert decoded.notes == ((UNSPECIFIED,) if kind == [0] else ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "packing", ["jpegxl", "png", "lerc", "lerc deflate", "lerc zstd", "jpeg2000", "jpeg_2000_lossy"]
)
def test_strips_that_are_pictures_of_their_own(packing: str, dtype: Any) -> None:
    packing, _, inner = packing.partition(" ")
    options = {"compression": inner} if inner else None
    for samples, tile in itertools.product((1, 3, 4), (None, (16, 16))):
        pixels = sources.picture(samples, dtype().itemsize * 8)
        data = _written(
            pixels if samples > 1 else pixels[..., 0],
            photometric="rgb" if samples > 1 else "minisblack",
            extrasamples=["unassalpha"] if samples == 4 else None,
            compression=packing,
            compressionargs=options,
            tile=tile,
        )
        assert np.array_equal(decode(data, name="packed", limits=LIMITS).pixels, pixels), (samples, tile)


@pytest.mark.parametrize("packing", ["jpegxl", "png", "lerc", "lerc deflate", "jpeg2000", "webp"])
def test_a_strip_that_claims_more_than_its_picture_is_refused(packing: str) -> None:
    packing, _, inner = packing.partition(" ")
    data = _written(
        np.zeros((400, 400, 3), np.uint8),
        photometric="rgb",
        compression=packing,
        rowsperstrip=400,
        compressionargs={"compression": inner} if inner else None,
    )
    file = TiffBytes(data, "x")
    fields = file.first()
    for tag in (256, 257, 278):
        fields[tag] = Field(3, 1, struct.pack("<H", 16))
    with pytest.raises(DecodeError, match=r"a TIFF strip of 256 px holds a picture of 400x400 px"):
        decode(with_directory(data, file.order, fields), name="bomb", limits=LIMITS)


def _patched(tag: int, value: int) -> bytes:
    fields = [field for field in hostile.tiff_fields() if field[0] != tag]
    return hostile.tiff_file(sorted([*fields, (tag, 3, 1, value)]))


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        (
            259,
            [
                0,
                9,
                10,
                32766,
                32809,
                32908,
                32909,
                34661,
                34676,
                34677,
                34713,
                34715,
                34892,
                34934,
                48124,
                12345,
            ],
        ),
        (262, [4, 7, 8, 9, 10, 32803, 32844, 32845, 34892, 51177, 99]),
        (317, [3, 34892, 34893, 34894, 34895, 7]),
        (339, [2, 3, 4, 5, 6]),
        (258, [17, 24, 32, 64]),
        (284, [3]),
    ],
)
def test_sound_files_of_other_kinds_are_not_called_damaged(tag: int, values: list[int]) -> None:
    """Compression, photometric interpretation, predictor, sample format, bits, planes."""
    for value in values:
        with pytest.raises(UnsupportedFormat, match=r"^other: expected a TIFF of grey.*; convert it$"):
            decode(_patched(tag, value), name="other", limits=LIMITS)


def test_a_stated_size_of_the_strip_that_is_too_large_does_no_harm() -> None:
    data = hostile.tiff_file(hostile.tiff_fields(t279=1_000_000))
    assert (decode(data, name="count", limits=LIMITS).pixels == 0x55).all()


@pytest.mark.parametrize("packing", [None, "zlib", "lzw", "jpeg", "jpeg2000", "webp", "zstd"])
def test_a_cut_off_file_is_damaged(packing: str | None) -> None:
    data = _written(sources.picture(3, 8), photometric="rgb", compression=packing)
    for cut in (1, 30):
        with pytest.raises(DecodeError, match=r"^cut: .*fetch or export it again"):
            decode(data[:-cut], name="cut", limits=LIMITS)


@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_surplus_bytes_in_deflated_strips_are_left_out_with_a_note(tile: tuple[int, int] | None) -> None:
    pixels = sources.picture(3, 8)
    for order, predictor in itertools.product("<>", (False, True)):
        data = _written(
            pixels,
            photometric="rgb",
            compression="zlib",
            predictor=predictor,
            byteorder=order,
            tile=tile,
            rowsperstrip=None if tile else 5,
        )
        file = TiffBytes(data, "x")
        fields = file.first()
        places, sizes = (324, 325) if tile else (273, 279)
        strips = [
            zlib.compress(zlib.decompress(data[at : at + size]) + b"surplus")
            for at, size in zip(file.numbers(fields, places), file.numbers(fields, sizes), strict=True)
        ]
        decoded = decode(with_strips(data, "x", strips), name="surplus", limits=LIMITS)
        assert np.array_equal(decoded.pixels, pixels)
        assert decoded.notes == ("surplus bytes in the TIFF's strips left out",)


@pytest.mark.parametrize("packing", [None, "zlib", "lzw", "packbits"])
def test_damaged_ycbcr_is_refused(packing: str | None) -> None:
    """libtiff, which reads it, shows what is left without a word."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = _written(pixels, photometric="ycbcr", compression=packing, rowsperstrip=16)
    file = TiffBytes(data, "x")
    fields = file.first()
    assert int(np.ptp(decode(data, name="sound", limits=LIMITS).pixels)) > 200
    sizes = [size // 2 for size in file.numbers(fields, 279)]
    fields[279] = Field(4, len(sizes), struct.pack(f"<{len(sizes)}I", *sizes))
    with pytest.raises(DecodeError, match=r"^ycbcr: "):
        decode(with_directory(data, file.order, fields), name="ycbcr", limits=LIMITS)
