"""What a format holds comes back identical, read by other libraries too; what it cannot hold is refused."""

from __future__ import annotations

import io
import itertools
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from PIL.JpegImagePlugin import JpegImageFile

from imgpipe.errors import EncodeError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources
from imgpipe_tests.opencv_files import opencv_decode

LIMITS = LimitSettings()


def full(channels: int, depth: int = 8) -> Image:
    """A picture with everything that an Image can carry."""
    pixels = sources.picture(channels, depth)
    return Image(pixels, icc=sources.display_p3(), exif=sources.exif(1), xmp=sources.XMP % 1)


@pytest.mark.parametrize("effort", ["fast", "balanced", "small"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_as_other_libraries_read_it(channels: int, depth: int, effort: Any) -> None:
    image = full(channels, depth)
    data = encode(image, effort=effort, zero_transparent=False)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert opened.info["icc_profile"] == image.icc
        assert opened.info["exif"].removeprefix(b"Exif\0\0") == image.exif
        assert opened.info["xmp"] == image.xmp
        if depth == 8:
            assert np.array_equal(np.asarray(opened), image.pixels.squeeze())
    seen = opencv_decode(data, cv2.IMREAD_UNCHANGED)
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    assert np.array_equal(seen.reshape(*seen.shape[:2], -1), image.pixels[..., order])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_tiff_as_other_libraries_read_it(channels: int, depth: int, byte_order: str) -> None:
    block = PIL.Image.Exif()
    block.endian = byte_order
    block[0x010F] = "Maker of the test"
    block.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    image = Image(sources.picture(channels, depth), sources.srgb(), block.tobytes()[6:], sources.XMP % 1)
    data = encode(image, format="TIFF", zero_transparent=False)
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        page = opened.pages.first
        assert np.array_equal(page.asarray(), image.pixels.squeeze())
        assert bytes(page.tags[34675].value) == image.icc
        assert bytes(page.tags[700].value) == image.xmp
        assert page.tags["Make"].value == "Maker of the test"
        assert page.tags["ExifTag"].value["DateTimeOriginal"] == "2020:02:03 04:05:06"
        assert len(opened.pages) == 1


def test_large_tiff_in_several_strips() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (700, 613, 4)).astype(np.uint16)
    data = encode(Image(pixels), format="TIFF", zero_transparent=False)
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), pixels)
    assert np.array_equal(decode(data, name="x", limits=LIMITS).pixels, pixels)


def test_maker_notes_keep_their_place_in_a_tiff() -> None:
    """Their offsets count from the block's start: the block stays where it was, byte for byte."""
    block = sources.exif(1)
    data = encode(Image(sources.picture(3, 8), exif=block), format="TIFF")
    assert data[8 : len(block)] == block[8:]


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(channels: int) -> None:
    image = full(channels)
    if channels == 4:
        image.pixels[:8, :, 3] = 0  # the colours there are kept where that is asked for
    data = encode(image, format="WEBP", zero_transparent=False)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(np.asarray(opened), image.pixels)
        assert opened.info["icc_profile"] == image.icc
        assert opened.info["exif"].removeprefix(b"Exif\0\0") == image.exif
        assert opened.info["xmp"] == image.xmp


def test_webp_of_grey_comes_back_as_rgb() -> None:
    image = full(1)
    decoded = decode(encode(image, format="WEBP"), name="x", limits=LIMITS)
    assert np.array_equal(decoded.pixels, np.repeat(image.pixels, 3, axis=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(channels: int) -> None:
    image = full(channels)
    with PIL.Image.open(io.BytesIO(encode(image, format="JPEG"))) as opened:
        assert np.abs(np.asarray(opened).astype(int) - image.pixels.squeeze()).max() <= 12
        assert opened.info["icc_profile"] == image.icc
        assert opened.info["exif"].removeprefix(b"Exif\0\0") == image.exif
        assert opened.info["xmp"] == image.xmp
        assert isinstance(opened, JpegImageFile)
        assert all(layer[1:3] == (1, 1) for layer in opened.layer), "chroma is subsampled"


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (full(4), {"format": "JPEG"}, "without alpha; write PNG"),
        (full(3, 16), {"format": "JPEG"}, "expected 8 bits per channel, got 16"),
        (full(3, 16), {"format": "WEBP"}, "expected 8 bits per channel, got 16"),
        (full(3), {"format": "JPEG", "quality": 80}, "quality of 90..100, got 80"),
        (full(3), {"format": "GIF"}, "PNG, WEBP, JPEG, TIFF"),
        (full(3), {"effort": "tiny"}, "fast, balanced, small"),
        (Image(np.zeros((2, 16384, 3), np.uint8)), {"format": "WEBP"}, "at most 16383 px"),
        (Image(np.zeros((4, 4, 3), np.uint8), xmp=b"x" * 70000), {"format": "JPEG"}, "65500 bytes of XMP"),
        (Image(np.zeros((4, 4, 3), np.uint8), exif=b"nonsense"), {"format": "TIFF"}, "sound EXIF block"),
        (Image(np.zeros((4, 4, 1), np.uint8), icc=sources.grey_icc()), {"format": "WEBP"}, "profile"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(image: Image, options: dict[str, Any], words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(image, **options)
    assert words in str(caught.value)


def test_colour_under_alpha_0_is_zeroed_unless_wanted() -> None:
    for channels, depth, fmt in itertools.product((2, 4), (8, 16), ("PNG", "TIFF")):
        pixels: Any = sources.picture(channels, depth) | 1
        pixels[:8, :, -1] = 0
        image = Image(pixels)
        zeroed = decode(encode(image, format=fmt), name="x", limits=LIMITS).pixels
        assert not zeroed[:8].any()
        assert np.array_equal(zeroed[8:], pixels[8:])
        kept = decode(encode(image, format=fmt, zero_transparent=False), name="x", limits=LIMITS).pixels
        assert np.array_equal(kept, pixels)
        assert (image.pixels[:8, :, 0] != 0).all(), "the caller's own pixels were changed"


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("effort", ["fast", "balanced", "small"])
def test_the_same_image_gives_the_same_bytes(fmt: str, effort: Any) -> None:
    assert encode(full(3), format=fmt, effort=effort) == encode(full(3), format=fmt, effort=effort)


def test_more_effort_gives_fewer_bytes() -> None:
    y, x = np.mgrid[0:256, 0:256]
    image = Image(np.dstack([x, y, x ^ y]).astype(np.uint8))
    for fmt in ("PNG", "WEBP"):
        fast, small = (len(encode(image, format=fmt, effort=e)) for e in ("fast", "small"))
        assert small < fast


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "JPEG", "TIFF"])
def test_exif_says_the_size_of_the_picture(fmt: str) -> None:
    before = PIL.Image.Exif()
    before[305] = "a program"
    before.get_ifd(0x8769).update({0xA002: 640, 0xA003: 480, 0x9003: "2026:01:02 03:04:05"})
    image = Image(full(3).pixels, exif=before.tobytes().removeprefix(b"Exif\0\0"))
    with PIL.Image.open(io.BytesIO(encode(image, format=fmt))) as opened:
        after = opened.getexif()
    inner = after.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == (image.width, image.height)
    assert (after[305], inner[0x9003]) == ("a program", "2026:01:02 03:04:05")
