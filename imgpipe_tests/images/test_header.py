"""Headers agree with Pillow's; limits name what was expected, what came, and the setting."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import LimitExceeded
from imgpipe.images.container import Header
from imgpipe.images.header import check_limits, describe, read
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import profiles, sources


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("frames", [1, 3])
def test_headers_agree_with_pillow(fmt: str, frames: int) -> None:
    pictures = [PIL.Image.fromarray(sources.picture(3, 8, seed)) for seed in range(frames)]
    buffer = io.BytesIO()
    if frames > 1:
        if fmt in ("JPEG", "BMP"):
            pytest.skip(f"{fmt} holds one picture")
        pictures[0].save(buffer, fmt, save_all=True, append_images=pictures[1:])
    else:
        pictures[0].save(buffer, fmt)
    with PIL.Image.open(buffer) as opened:
        expected = (opened.format, *opened.size, getattr(opened, "n_frames", 1))
    found, _ = read(buffer.getvalue(), "x")
    assert (found.format, found.width, found.height, found.frames) == expected
    assert found.bit_depth == 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF"])  # AVIF: in its own test, by its own boxes
def test_orientation(fmt: str, orientation: int) -> None:
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(sources.picture(3, 8))
    picture.save(buffer, fmt, exif=b"Exif\0\0" + sources.exif(orientation))
    assert read(buffer.getvalue(), "x")[0].orientation == orientation


def test_depths() -> None:
    assert read(sources.make_png("RGB", 16, None, 1)[0], "x")[0].bit_depth == 16
    assert read(sources.make_tiff("LA", 16, None, 1)[0], "x")[0].bit_depth == 16
    for depth in (10, 12):
        assert read(sources.make_deep_avif("RGBA", depth, None)[0], "x")[0].bit_depth == depth


@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (None, False),
        (sources.srgb(), False),
        (sources.cmyk_icc(), False),
        (profiles.rgb("P3", profiles.P3), True),
        (profiles.table(), True),
    ],
)
def test_whether_colours_are_converted(icc: bytes | None, expected: bool) -> None:
    """Not where a profile is sRGB's, nor where it is not for the picture."""
    assert describe(sources.make_png("RGB", 8, icc, 1)[0], "x").converted is expected


def test_no_pixel_is_decoded() -> None:
    """The header of a picture whose pixels are gone is still read."""
    data = sources.png_file(np.zeros((40, 30, 3), np.uint8), 2, idat=b"nothing")
    assert read(data, "x")[0] == Header("PNG", 30, 40)


@pytest.mark.parametrize(
    ("header", "size", "limits", "words"),
    [
        (
            Header("PNG", 200, 100),
            10,
            {"max_pixels": 19_999},
            ["19999", "200x100 = 20000", "limits.max_pixels"],
        ),
        (Header("PNG", 200, 100), 10, {"max_bytes": 9}, ["at most 9 bytes", "has 10", "limits.max_bytes"]),
        (Header("PNG", 60000, 1), 10, {}, ["100:1", "60000x1 = 60000.0:1", "limits.max_aspect_ratio"]),
        (Header("PNG", 1, 101), 10, {}, ["1x101 = 101.0:1"]),
        (Header("PNG", 50, 7), 10, {"min_side": 8}, ["at least 8 px", "50x7", "limits.min_side"]),
    ],
)
def test_limits(header: Header, size: int, limits: dict[str, int], words: list[str]) -> None:
    with pytest.raises(LimitExceeded) as caught:
        check_limits(header, size, LimitSettings(**limits), "a.png")
    assert str(caught.value).startswith("a.png: ")
    for word in words:
        assert word in str(caught.value)


def test_exactly_at_the_limits_is_within_them() -> None:
    limits = LimitSettings(max_pixels=20_000, max_bytes=10, max_aspect_ratio=2, min_side=100)
    check_limits(Header("PNG", 200, 100), 10, limits, "a.png")
