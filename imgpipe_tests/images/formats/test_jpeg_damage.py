"""What libjpeg only warns of is refused, what is harmless is noted."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import DecodeError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.enhancement.pictures import noise, waves
from imgpipe_tests.images import sources


def _jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(waves(120, 160, 3)).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_piece_cut_out_of_the_middle_is_refused(progressive: bool) -> None:
    data = _jpeg(progressive=progressive)
    middle = len(data) // 2
    cut = data[:middle] + data[middle + len(data) // 5 :]
    with PIL.Image.open(io.BytesIO(cut)) as opened:
        opened.load()  # other programs show it without a word
    with pytest.raises(DecodeError, match=r"a\.jpg: the JPEG's compressed data is damaged"):
        decode(cut, name="a.jpg", limits=LimitSettings())


def test_bytes_left_over_before_the_end_are_noted() -> None:
    data = _jpeg()
    image = decode(data[:-2] + bytes(12) + data[-2:], name="a.jpg", limits=LimitSettings())
    clean = decode(data, name="a.jpg", limits=LimitSettings())
    np.testing.assert_array_equal(image.pixels, clean.pixels)
    assert "harmless oddity in the JPEG" in image.notes[0]
    assert clean.notes == ()


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"keep_rgb": True}])
def test_same_pixels_as_pillow(options: dict[str, object]) -> None:
    data = _jpeg(**options)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        expected = np.array(opened)
    np.testing.assert_array_equal(decode(data, name="a.jpg", limits=LimitSettings()).pixels, expected)


def test_noise_that_outgrows_pillows_buffer_is_written() -> None:
    image = Image(noise(256, 256))
    data = encode(image, format="JPEG", quality=100)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.layer[0][1:3] == (1, 1), "4:4:4"  # type: ignore[attr-defined]
        difference = np.abs(np.array(opened).astype(int) - image.pixels)
    assert difference.mean() < 1


def test_a_profile_of_several_segments() -> None:
    profile = bytearray(sources.display_p3())
    profile += bytes(150_000 - len(profile))
    profile[:4] = len(profile).to_bytes(4, "big")
    image = Image(waves(8, 8, 3), icc=bytes(profile), exif=None, xmp=b"<x/>")
    data = encode(image, format="JPEG")
    back = decode(data, name="x", limits=LimitSettings())
    assert (back.icc, back.xmp) == (image.icc, image.xmp)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.info["icc_profile"] == image.icc
