"""The round-trip matrix: format x kind of pixels x depth x profile x orientation, and what is special."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import DecodeError, LimitExceeded, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.metadata import without_exif_thumbnail
from imgpipe.images.srgb import srgb_profile
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources

LIMITS = LimitSettings()

ICCS: dict[str, Callable[[], bytes] | None] = {
    "no": None,
    "sRGB": sources.srgb,
    "Display-P3": sources.display_p3,
    "grey ICC": sources.grey_icc,
}

#: (format, kind, depth) that the format itself cannot hold -> why. None of them can exist as a file.
IMPOSSIBLE = {
    **{("PNG", "CMYK", d): "PNG has no CMYK" for d in (8, 16)},
    **{
        (f, "palette+tRNS", 16): "a palette has 8-bit colours"
        for f in ("PNG", "TIFF", "JPEG", "WEBP", "AVIF")
    },
    ("TIFF", "palette+tRNS", 8): "a TIFF palette has no transparency",
    **{("JPEG", k, d): "JPEG has no alpha" for k in ("LA", "RGBA", "palette+tRNS") for d in (8, 16)},
    **{("JPEG", k, 16): "JPEG decoders here have 8 bits" for k in ("grey", "RGB", "CMYK")},
    **{
        ("WEBP", k, d): "WebP has only RGB and RGBA"
        for k in ("grey", "LA", "palette+tRNS", "CMYK")
        for d in (8, 16)
    },
    **{("WEBP", k, 16): "WebP has 8 bits" for k in ("RGB", "RGBA")},
    **{("AVIF", k, d): "AVIF has no palette, no CMYK" for k in ("palette+tRNS", "CMYK") for d in (8, 16)},
}
CELLS = list(itertools.product(["PNG", "JPEG", "WEBP", "TIFF", "AVIF"], sources.CHANNELS, [8, 16], ICCS))
POSSIBLE = [cell for cell in CELLS if cell[:3] not in IMPOSSIBLE]


def _source(fmt: str, kind: str, depth: int, icc: bytes | None, orientation: int) -> tuple[bytes, Any, int]:
    """(file, expected upright pixels, largest allowed difference)."""
    if fmt == "PNG":
        data, pixels = sources.make_png(kind, depth, icc, orientation)
    elif fmt == "TIFF":
        data, pixels = sources.make_tiff(kind, depth, icc, orientation)
    elif fmt == "WEBP":
        data, pixels = sources.make_pillow(fmt, kind, icc, orientation, lossless=True, exact=True)
    elif fmt == "JPEG":
        data, _ = sources.make_pillow(fmt, kind, icc, orientation, quality=95, subsampling=0)
        # What is in a JPEG is what its decoder says; Pillow read as a whole, metadata and all.
        with PIL.Image.open(io.BytesIO(data)) as opened:
            pixels = np.asarray(opened).reshape(sources.HEIGHT, sources.WIDTH, -1)
    elif depth == 16:
        data, stored = sources.make_deep_avif(kind, 10, icc)
        return (
            data,
            np.round(stored * (65535 / 1023)),
            400,
        )  # its colour transform loses a step or two of 1023
    else:
        subsampling = "4:0:0" if kind == "grey" else "4:4:4"
        data, pixels = sources.make_pillow(fmt, kind, icc, orientation, quality=100, subsampling=subsampling)
        return data, _avif_expected(pixels, orientation), 3
    return data, sources.turned(pixels, orientation), 0


def _avif_expected(pixels: Any, orientation: int) -> Any:
    if pixels.shape[2] == 2:  # Pillow writes grey + alpha as RGBA
        pixels = pixels[..., [0, 0, 0, 1]]
    return sources.turned(pixels, orientation)


@pytest.mark.parametrize(("fmt", "kind", "depth", "profile"), POSSIBLE, ids=lambda v: str(v))
def test_round_trip(fmt: str, kind: str, depth: int, profile: str) -> None:
    make = ICCS[profile]
    icc = make() if make else None
    deep_avif = fmt == "AVIF" and depth == 16
    if deep_avif and kind == "LA":
        kind = "RGBA"  # AVIF's LA is RGBA with equal channels: every writer here makes it so
    for orientation in [1] if deep_avif else range(1, 9):
        data, expected, tolerance = _source(fmt, kind, depth, icc, orientation)
        decoded = decode(data, name="cell", limits=LIMITS)
        if kind == "CMYK":
            _check_cmyk(decoded, expected)
        else:
            expected, kept = _fitted(expected, profile, icc)
            assert decoded.pixels.shape == expected.shape
            difference = np.abs(decoded.pixels.astype(np.int64) - expected)
            assert difference.max() <= tolerance, f"orientation {orientation}: {difference.max()}"
            assert decoded.icc == kept
        assert decoded.bit_depth == (8 if kind == "CMYK" else depth)
        assert decoded.source_format == fmt
        assert decoded.pixels.flags.c_contiguous
        if not deep_avif:
            _check_metadata(decoded, fmt)
        _check_written_again(decoded, fmt)


def _fitted(expected: Any, profile: str, icc: bytes | None) -> tuple[Any, bytes | None]:
    """A profile for grey is not for RGB, nor one for RGB for grey: that is R = G = B, unless it is sRGB."""
    is_grey = expected.shape[2] <= 2
    if profile == ("sRGB" if is_grey else "grey ICC"):
        return expected, None
    if not is_grey or profile != "Display-P3":
        return expected, icc
    return np.concatenate([np.repeat(expected[..., :1], 3, axis=2), expected[..., 1:]], axis=2), icc


def _check_metadata(decoded: Image, fmt: str) -> None:
    fields = sources.exif_fields(decoded.exif)
    wanted = sources.exif_fields(sources.exif(1))
    if fmt == "TIFF":  # tifffile writes no EXIF directory
        wanted = {0x010F: wanted[0x010F]}
        fields = {tag: value for tag, value in fields.items() if tag not in (282, 283, 296)}
    assert fields == wanted
    assert sources.orientation_of(decoded.exif) == 1
    assert decoded.xmp == sources.XMP % 1


def _check_cmyk(decoded: Image, inks: Any) -> None:
    """No CMYK profile among the matrix's: converted by formula, and said so."""
    assert decoded.icc == srgb_profile()
    assert any("CMYK without a usable profile" in note for note in decoded.notes)
    scale = np.iinfo(inks.dtype).max
    expected = 255 * (1 - inks[..., :3] / scale) * (1 - inks[..., 3:] / scale)
    assert np.abs(decoded.pixels - expected).max() <= 2.0


def _check_written_again(decoded: Image, fmt: str) -> None:
    """Into the own format where it is written losslessly, else PNG: everything identical."""
    target = fmt if fmt in ("PNG", "TIFF", "WEBP") else "PNG"
    again = decode(encode(decoded, format=target, zero_transparent=False), name="again", limits=LIMITS)
    assert again.pixels.dtype == decoded.pixels.dtype
    assert np.array_equal(again.pixels, decoded.pixels)
    assert (again.icc, again.xmp) == (decoded.icc, decoded.xmp)
    if target == "TIFF":  # put together anew, field by field
        assert sources.exif_fields(again.exif) == sources.exif_fields(decoded.exif)
        assert sources.orientation_of(again.exif) == 1
    else:
        assert again.exif == decoded.exif


def test_the_matrix_is_large_and_its_gaps_are_the_formats_own() -> None:
    assert len(POSSIBLE) >= 60
    assert {cell[:3] for cell in CELLS} - {cell[:3] for cell in POSSIBLE} == set(IMPOSSIBLE)


@pytest.mark.parametrize(
    "name", ["00017_gray.png", "children-alpha.png", "tree_alpha_16bit.png", "wolf_gray.jpg"]
)
@pytest.mark.parametrize("target", ["PNG", "TIFF"])
@pytest.mark.shared
def test_real_files_survive(shared: Path, name: str, target: str) -> None:
    data = (shared / "data" / "formats" / name).read_bytes()
    first = decode(data, name=name, limits=LIMITS)
    again = decode(encode(first, format=target, zero_transparent=False), name=name, limits=LIMITS)
    assert again.pixels.dtype == first.pixels.dtype
    assert np.array_equal(again.pixels, first.pixels)
    assert (again.icc, again.xmp) == (first.icc, first.xmp)
    if target == "PNG":
        assert again.exif == without_exif_thumbnail(first.exif)
    else:
        # Photoshop lists the size and depth of the stored pixels in its EXIF; a TIFF has its own.
        described = {tag: v for tag, v in sources.exif_fields(first.exif).items() if not 256 <= tag <= 262}
        described.pop(277, None)
        if first.dpi is not None:
            described |= {282: pytest.approx(first.dpi[0]), 283: pytest.approx(first.dpi[1]), 296: 2}
        assert sources.exif_fields(again.exif) == described
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert first.icc == opened.info.get("icc_profile")
        if first.bit_depth == 8:
            assert np.array_equal(first.pixels.squeeze(), np.asarray(opened))
    visible = decode(encode(first, format=target), name=name, limits=LIMITS)
    shown = first.alpha > 0 if first.alpha is not None else np.ones(first.pixels.shape[:2], bool)
    assert np.array_equal(visible.pixels[shown], first.pixels[shown])


#: XYZ relative to D50 -> linear sRGB, Bradford adaptation (Lindbloom).
D50_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def _srgb_from_lab(lab: tuple[int, int, int]) -> Any:
    """0..255 from CIE L*a*b* (D50), in closed form."""
    lightness = (lab[0] + 16) / 116
    f = np.array([lightness + lab[1] / 500, lightness, lightness - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    linear = np.clip(D50_TO_SRGB @ xyz, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_cmyk_goes_through_its_profile() -> None:
    """Solid inks have the colour that the profile gives them in L*a*b*."""
    inks = np.zeros((8, 8, 4), np.uint8)
    for fmt, solid in itertools.product(("JPEG", "TIFF"), sources.INKS):
        inks[:] = [*(255 * np.array(solid)), 0]
        buffer = io.BytesIO()
        PIL.Image.fromarray(inks, "CMYK").save(buffer, fmt, icc_profile=sources.cmyk_icc(), quality=100)
        decoded = decode(buffer.getvalue(), name="inks", limits=LIMITS)
        expected = _srgb_from_lab(sources.INKS[solid])
        assert np.abs(decoded.pixels[4, 4] - expected).max() <= 3.0, (
            fmt,
            solid,
            decoded.pixels[4, 4],
            expected,
        )
        assert decoded.icc == srgb_profile()
        assert decoded.notes == ("CMYK converted to sRGB through its profile",)


#: (first column, first row, step in x, step in y) of Adam7's passes (W3C PNG, section 8).
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_interlaced_png(channels: int, colour: int, depth: int) -> None:
    pixels = sources.picture(channels, depth)
    passes = [pixels[y::dy, x::dx].astype(f">u{depth // 8}") for x, y, dx, dy in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    data = bytearray(sources.png_file(pixels, colour, idat=zlib.compress(rows)))
    data[28] = 1  # the interlace method
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert np.array_equal(decode(bytes(data), name="interlaced", limits=LIMITS).pixels, pixels)


def _frames(count: int) -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(sources.picture(3, 8, seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        *(("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_first_frame_with_a_note(fmt: str, options: dict[str, Any]) -> None:
    frames, buffer = _frames(3), io.BytesIO()
    if fmt == "GIF":
        frames = [frame.convert("P", palette=PIL.Image.Palette.ADAPTIVE) for frame in frames]
    frames[0].save(buffer, fmt, save_all=True, append_images=frames[1:], **options)
    decoded = decode(buffer.getvalue(), name="many", limits=LIMITS)
    difference = np.abs(decoded.pixels.astype(int) - np.asarray(frames[0].convert("RGB")))
    assert difference.max() <= (3 if fmt == "AVIF" else 0)
    assert any("first of 3" in note for note in decoded.notes), decoded.notes


@pytest.mark.parametrize(
    ("fmt", "options", "what"),
    [
        ("GIF", {}, "frames"),
        ("PNG", {}, "frames"),
        ("WEBP", {"lossless": True}, "frames"),
        ("AVIF", {}, "frames"),
        ("TIFF", {}, "pages"),
    ],
)
def test_several_pictures_can_be_rejected(fmt: str, options: dict[str, Any], what: str) -> None:
    """Only where the file has several: one picture, even as an animation of one frame, is decoded."""
    limits = LimitSettings(animated="reject")
    frames, several, one = _frames(3), io.BytesIO(), io.BytesIO()
    frames[0].save(several, fmt, save_all=True, append_images=frames[1:], **options)
    with pytest.raises(UnsupportedFormat) as caught:
        decode(several.getvalue(), name="many", limits=limits)
    expected = f"many: expected one picture, the {fmt} has 3 {what}; set limits.animated=first_frame"
    assert str(caught.value).startswith(expected)
    frames[0].save(one, fmt, save_all=True, **options)
    assert decode(one.getvalue(), name="one", limits=limits).notes == ()


@pytest.mark.parametrize("depth", [10, 12])
def test_deep_avif_white_is_white(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    white = np.full((17, 23, 1), (1 << depth) - 1, np.uint16)
    monkeypatch.setattr(sources, "picture", lambda *_: white)
    decoded = decode(sources.make_deep_avif("grey", depth, None)[0], name="deep", limits=LIMITS)
    assert (decoded.pixels == 65535).all()


def test_palettes_and_small_depths_become_plain_pixels() -> None:
    opened = PIL.Image.fromarray(sources.picture(1, 8)[..., 0])
    for mode, fmt in itertools.product(("1", "P"), ("PNG", "TIFF", "BMP", "GIF")):
        buffer = io.BytesIO()
        source = opened.convert(mode)
        source.save(buffer, fmt)
        decoded = decode(buffer.getvalue(), name="small", limits=LIMITS)
        expected = np.asarray(source.convert("RGB"))
        assert np.array_equal(np.broadcast_to(decoded.pixels[..., :3], expected.shape), expected), (mode, fmt)


def test_metadata_that_cannot_be_carried_is_noted() -> None:
    parts = sources.chunk(b"eXIf", b"II*\0" + struct.pack("<I", 60000) + b"\0" * 40)
    parts += sources.chunk(b"iCCP", b"big\0\0" + zlib.compress(b"\0" * 10_000_000))
    parts += sources.chunk(b"tEXt", b"parameters\x00masterpiece")
    decoded = decode(sources.png_file(sources.picture(3, 8), 2, middle=parts), name="x", limits=LIMITS)
    assert (decoded.icc, decoded.exif) == (None, None)
    text = " | ".join(decoded.notes)
    assert "ICC profile not carried" in text
    assert "EXIF block of 48 bytes not carried" in text
    assert "PNG text not carried: parameters" in text


def test_previews_in_a_jpeg_are_noted_and_not_rejected() -> None:
    """Cameras append previews and gain maps as further pictures (CIPA DC-007): no animation."""
    frames, buffer = _frames(2), io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:])
    decoded = decode(buffer.getvalue(), name="camera.jpg", limits=LimitSettings(animated="reject"))
    assert "several pictures in one JPEG: the first kept" in decoded.notes


def test_limits_come_from_the_header() -> None:
    pixels = sources.picture(3, 8)
    data = sources.png_file(pixels, 2)
    with pytest.raises(LimitExceeded, match=r"x\.png: expected at most 390 px.*limits\.max_pixels"):
        decode(data, name="x.png", limits=LimitSettings(max_pixels=390))
    with pytest.raises(LimitExceeded, match=r"max_bytes"):
        decode(data, name="x.png", limits=LimitSettings(max_bytes=10))


def test_out_of_memory_is_a_limit_not_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("imgpipe.images.decode.imagecodecs.png_decode", no_memory)
    with pytest.raises(LimitExceeded, match="not enough memory for 23x17"):
        decode(sources.png_file(sources.picture(3, 8), 2), name="x.png", limits=LIMITS)


def test_limits_are_ours_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit neither refuses a TIFF that ours allow nor is taken for damage elsewhere."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    for kind, depth in (("RGB", 8), ("RGBA", 16), ("CMYK", 16)):
        data, pixels = sources.make_tiff(kind, depth, None, 1)
        assert decode(data, name="large.tif", limits=LIMITS).pixels.shape[:2] == pixels.shape[:2]
    data, _ = sources.make_pillow("WEBP", "RGBA", None, 1, lossless=True)
    with pytest.raises(LimitExceeded, match=r"^large\.webp: .* convert it to PNG or TIFF"):
        decode(data, name="large.webp", limits=LIMITS)


def test_deep_jpeg_is_refused_by_name() -> None:
    data = b"\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x10\x00\x10\x01\x01\x11\x00"
    data += b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"
    with pytest.raises(UnsupportedFormat, match="expected a JPEG of 8 bits, got 12"):
        decode(data, name="deep.jpg", limits=LIMITS)


def test_what_is_wrong_with_a_png_is_named() -> None:
    data = bytearray(sources.png_file(sources.picture(3, 8), 2))
    data[60] ^= 0xFF
    with pytest.raises(DecodeError, match="CRC of the PNG chunk IDAT at byte 33 is wrong"):
        decode(bytes(data), name="x.png", limits=LIMITS)
    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    with pytest.raises(DecodeError, match="the compressed pixels of the PNG do not make up its picture"):
        decode(bytes(data[:start] + data[end:]), name="x.png", limits=LIMITS)
