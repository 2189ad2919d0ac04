"""TIFF layouts, packings and depths against the pixels that tifffile or Pillow were given to write."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources

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


@pytest.mark.parametrize("depth", [2, 4, 6, 10, 12, 14])
def test_other_depths_span_the_full_range(depth: int) -> None:
    stored = sources.picture(1, depth)[..., 0]
    data = _written(stored, photometric="minisblack", bitspersample=depth)
    top = 255 if depth <= 8 else 65535
    expected = np.floor(stored * (top / ((1 << depth) - 1)) + 0.5)
    assert np.array_equal(decode(data, name="depth", limits=LIMITS).pixels[..., 0], expected)


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_colour_maps_of_8_and_16_bits(scale: int) -> None:
    indices, _, _ = sources.palette_picture()
    colours = np.random.default_rng(5).integers(0, 256, (3, 256)).astype(np.uint16)
    data = _written(indices, photometric="palette", colormap=colours * np.uint16(scale))
    decoded = decode(data, name="palette", limits=LIMITS)
    assert np.array_equal(decoded.pixels, colours.T[indices])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_with_alpha(dtype: Any) -> None:
    pixels = sources.picture(2, dtype().itemsize * 8)
    data = _written(pixels, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"])
    decoded = decode(data, name="white", limits=LIMITS)
    assert np.array_equal(decoded.pixels[..., 0], np.iinfo(dtype).max - pixels[..., 0])
    assert np.array_equal(decoded.pixels[..., 1], pixels[..., 1])


def test_what_is_no_alpha_is_left_out_and_named() -> None:
    for dtype in (np.uint8, np.uint16):
        pixels = sources.picture(4, dtype().itemsize * 8)
        data = _written(pixels, photometric="rgb", extrasamples=["unspecified"])
        decoded = decode(data, name="extra", limits=LIMITS)
        assert np.array_equal(decoded.pixels, pixels[..., :3])
        assert decoded.notes == ("1 TIFF samples that are not colour left out",)


@pytest.mark.parametrize("options", [{"compression": "jpegxl"}, {"compression": "png"}, {"dtype": np.int16}])
def test_sound_files_of_other_kinds_are_not_called_damaged(options: dict[str, Any]) -> None:
    pixels = sources.picture(1, 8)[..., 0].astype(options.pop("dtype", np.uint8))
    data = _written(pixels, photometric="minisblack", **options)
    with pytest.raises(UnsupportedFormat, match=r"^other: expected a TIFF of grey.*; convert it$"):
        decode(data, name="other", limits=LIMITS)


@pytest.mark.parametrize("packing", [None, "zlib", "lzw", "jpeg", "jpeg2000", "webp", "zstd"])
def test_a_cut_off_file_is_damaged(packing: str | None) -> None:
    data = _written(sources.picture(3, 8), photometric="rgb", compression=packing)
    for cut in (1, 30):
        with pytest.raises(DecodeError, match=r"^cut: .*fetch or export it again"):
            decode(data[:-cut], name="cut", limits=LIMITS)
