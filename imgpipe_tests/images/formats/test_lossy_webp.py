"""Lossy WebP as Pillow and we read it back."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import skimage.metrics

from imgpipe.errors import EncodeError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.enhancement.pictures import noise, tagged, waves
from imgpipe_tests.images import sources


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_profile_and_metadata(channels: int) -> None:
    image = tagged(waves(64, 96, channels))
    data = encode(image, format="WEBP", quality=95)
    assert b"VP8 " in data[:512] or b"VP8 " in data, "the lossy kind"
    assert b"VP8L" not in data
    back = decode(data, name="x", limits=LimitSettings())
    assert (back.icc, back.exif, back.xmp) == (image.icc, image.exif, image.xmp)
    expected = np.repeat(image.pixels, 3, axis=2) if channels == 1 else image.pixels
    psnr = skimage.metrics.peak_signal_noise_ratio(expected, back.pixels)
    assert psnr > 35, f"{psnr:.1f} dB"
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "WEBP"
        assert opened.info["icc_profile"] == image.icc


def test_quality_orders_sizes_and_bytes_repeat() -> None:
    image = Image(noise(64, 64))
    sizes = [len(encode(image, format="WEBP", quality=quality)) for quality in (90, 95, 100)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert encode(image, format="WEBP", quality=93) == encode(image, format="WEBP", quality=93)


@pytest.mark.parametrize(
    ("image", "quality", "message"),
    [
        (Image(waves(8, 8, 3)), 89, "90..100, got 89"),
        (Image(waves(8, 8, 3)), 101, "90..100, got 101"),
        (Image(waves(8, 8, 4)), 95, "without alpha"),
        (Image(waves(8, 8, 2)), 95, "without alpha"),
        (Image(waves(8, 8, 3, 16)), 95, "8 bits per channel, got 16"),
        (Image(np.zeros((1, 16384, 3), np.uint8)), 95, "at most 16383 px, got 16384x1"),
        (Image(waves(8, 8, 1), icc=sources.grey_icc()), 95, "got one for grey"),
    ],
)
def test_what_it_cannot_hold_is_refused(image: Image, quality: int, message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        encode(image, format="WEBP", quality=quality)
