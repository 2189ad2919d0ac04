"""The table of rules, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.enhancement.formats import Encoding, encoding_for, fit_bit_depth, write
from imgpipe.errors import EncodeError
from imgpipe.images.image import Image
from imgpipe_tests.enhancement.pictures import tagged, waves


@pytest.mark.parametrize(
    ("channels", "name", "expected"),
    [
        *[(channels, "PNG", Encoding("PNG")) for channels in (1, 2, 3, 4)],
        *[(channels, "JXL", Encoding("JXL")) for channels in (1, 2, 3, 4)],
        *[(channels, "WEBP", Encoding("WEBP", 93)) for channels in (1, 3)],
        *[(channels, "WEBP", Encoding("WEBP")) for channels in (2, 4)],
        *[(channels, "JPEG", Encoding("JPEG", 93)) for channels in (1, 3)],
    ],
)
def test_how_a_format_holds_a_picture(channels: int, name: str, expected: Encoding) -> None:
    encoding = encoding_for(Image(waves(4, 4, channels)), name, 93)
    assert encoding == expected
    assert encoding.lossless == (expected.quality is None)


@pytest.mark.parametrize("channels", [2, 4])
def test_jpeg_never_holds_alpha(channels: int) -> None:
    image = Image(waves(8, 8, channels))
    with pytest.raises(EncodeError, match="without alpha"):
        write(image, encoding_for(image, "JPEG", 95))


@pytest.mark.parametrize("priority", [("PNG",), ("JPEG", "PNG"), ("WEBP", "JPEG", "PNG")])
def test_sixteen_bits_stay_where_any_format_keeps_them(priority: tuple[str, ...]) -> None:
    image = tagged(waves(8, 8, 4, 16))
    kept, reasons = fit_bit_depth(image, priority)
    assert kept is image
    assert reasons == ()


def test_sixteen_bits_become_eight_where_no_format_has_them() -> None:
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    reduced, reasons = fit_bit_depth(tagged(codes), ("WEBP", "JPEG"))
    assert reduced.bit_depth == 8
    expected = np.floor(codes.astype(np.float64) / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(reduced.pixels, expected), "rounded to nearest, not cut off"
    assert reduced.exif is not None
    assert len(reasons) == 1
    assert "[WEBP, JPEG]" in reasons[0]
    assert "add PNG" in reasons[0]


def test_eight_bits_are_left_alone() -> None:
    image = Image(waves(8, 8))
    assert fit_bit_depth(image, ("JPEG",)) == (image, ())
