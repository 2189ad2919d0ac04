"""The table of rules, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.enhancement.formats import Encoding, encoding_for, fit_bit_depth
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
