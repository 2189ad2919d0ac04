"""JPEG XL: headers by closed form, pixels and metadata through the plugin where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.errors import DecodeError, EncodeError, LimitExceeded, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.formats import jxl
from imgpipe.images.image import Image, Pixels
from imgpipe.settings import LimitSettings
from imgpipe_tests.enhancement.pictures import waves
from imgpipe_tests.images import sources

#: Nothing by default, no extra fields, integers of 1 + 15 bits.
_DEEP = [(0, 1), (0, 1), (0, 1), (3, 2), (15, 6)]
#: 100/1 ticks, for ever, no time codes; integers of 10 bits.
_MOVING = [(0, 2), (0, 2), (0, 2), (0, 1), (0, 1), (1, 2)]


def _stream(*fields: tuple[int, int]) -> bytes:
    """A codestream header from (value, bits), least significant bit first."""
    value = at = 0
    for number, bits in fields:
        value |= number << at
        at += bits
    return b"\xff\x0a" + value.to_bytes((at + 7) // 8 + 4, "little")


@pytest.mark.parametrize(
    ("fields", "width", "height", "depth", "frames"),
    [
        # small sides: 8 * (1 + 3) high, the same wide by ratio 1:1; all by default
        ([(1, 1), (3, 5), (1, 3), (1, 1)], 32, 32, 8, 1),
        # sides as 1 + u(13), ratio 0, and 16 bits as 1 + u(6)
        (
            [(0, 1), (1, 2), (1079, 13), (0, 3), (1, 2), (1919, 13), *_DEEP],
            *(1920, 1080, 16, 1),
        ),
        # ratio 16:9; extra fields: orientation 6 turns it, animated at 100/1, for ever; 10 bits
        (
            [(0, 1), (1, 2), (1079, 13), (5, 3), (0, 1), (1, 1), (5, 3), (0, 1), (0, 1), (1, 1), *_MOVING],
            *(1080, 1920, 10, 2),
        ),
        # a float picture of 32 bits
        ([(1, 1), (3, 5), (1, 3), (0, 1), (0, 1), (1, 1), (0, 2), (7, 4)], 32, 32, 32, 1),
    ],
)
def test_headers(fields: list[tuple[int, int]], width: int, height: int, depth: int, frames: int) -> None:
    header, _ = jxl.read(_stream(*fields), "x")
    assert (header.width, header.height, header.bit_depth, header.frames) == (width, height, depth, frames)


def test_a_cut_header_is_an_error_of_ours() -> None:
    with pytest.raises(DecodeError, match="ends within its header"):
        jxl.read(b"\xff\x0a\x00", "x")
    with pytest.raises(DecodeError, match="runs out of the file"):
        jxl.read(b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\1\0jxlc", "x")
    with pytest.raises(DecodeError, match="no codestream"):
        jxl.read(b"\0\0\0\x0cJXL \r\n\x87\n", "x")


@pytest.fixture
def plugin() -> None:
    pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_exif_and_xmp_survive(channels: int) -> None:
    pixels = waves(37, 53, channels)
    image = Image(pixels, exif=sources.exif(1), xmp=b"<x:xmpmeta/>")
    data = encode(image, format="JXL")
    header, _ = jxl.read(data, "x")
    assert (header.width, header.height, header.bit_depth) == (53, 37, 8)
    back = decode(data, name="x", limits=LimitSettings())
    expected: Pixels = image.pixels
    if image.has_alpha:
        expected = np.where(expected[..., -1:] == 0, 0, expected)
    np.testing.assert_array_equal(back.pixels, expected)
    assert (back.exif, back.xmp, back.source_format) == (image.exif, image.xmp, "JXL")


@pytest.mark.usefixtures("plugin")
def test_deep_pictures_are_refused_both_ways() -> None:
    with pytest.raises(EncodeError, match="8 bits per channel, got 16"):
        encode(Image(waves(8, 8, 3, 16)), format="JXL")
    deep = [(0, 1), (1, 2), (63, 13), (1, 3), *_DEEP]
    with pytest.raises(UnsupportedFormat, match="expected a JXL of 8 bits per channel, got 16"):
        decode(_stream(*deep), name="x", limits=LimitSettings())


@pytest.mark.usefixtures("plugin")
def test_limits_hold_before_anything_is_decoded() -> None:
    huge = [(0, 1), (3, 2), (99_999, 30), (1, 3), (1, 1)]
    with pytest.raises(LimitExceeded, match="100000x100000"):
        decode(_stream(*huge), name="x", limits=LimitSettings())


@pytest.mark.usefixtures("plugin")
def test_a_profile_is_refused_not_dropped() -> None:
    with pytest.raises(EncodeError, match="no profile or sRGB's own"):
        encode(Image(waves(8, 8, 1), icc=sources.grey_icc()), format="JXL")
