"""The feed is 8-bit sRGB whatever comes in."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from imgpipe.enhancement.segmentation_feed import segmentation_feed
from imgpipe.images.image import Image
from imgpipe_tests.enhancement.pictures import disc, tagged, waves
from imgpipe_tests.images import sources


def converted(rgb: Any, icc: bytes) -> Any:
    """By Little CMS directly."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(ImageCms.applyTransform(PIL.Image.fromarray(rgb), transform))


def test_display_p3_becomes_srgb() -> None:
    pixels = waves(40, 60)
    feed = segmentation_feed(tagged(pixels))
    assert np.abs(feed.pixels.astype(int) - converted(pixels, sources.display_p3())).max() <= 1
    assert np.abs(feed.pixels.astype(int) - pixels).max() > 8, "the conversion does something"


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_always_plain_rgb_of_the_same_size(channels: int, depth: int) -> None:
    image = tagged(waves(20, 30, channels, depth), icc=sources.srgb())
    before = image.pixels.copy()
    feed = segmentation_feed(image)
    assert feed.pixels.shape == (20, 30, 3)
    assert feed.pixels.dtype == np.uint8
    assert feed.exif is None
    assert feed.xmp is None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(feed.icc or b""))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert np.array_equal(image.pixels, before), "the picture itself is not touched"
    assert not np.shares_memory(feed.pixels, image.pixels)


@pytest.mark.parametrize("hidden", [0, 99, 255])
def test_transparent_is_white_whatever_lies_under_it(hidden: int) -> None:
    image = Image(disc(40, 12, hidden))
    feed = segmentation_feed(image).pixels
    visible = image.pixels[..., 3] == 255
    assert (feed[visible] == (180, 120, 40)).all()
    assert (feed[~visible] == 255).all()


def test_half_transparent_is_mixed_as_porter_and_duff_do() -> None:
    pixels = np.zeros((1, 256, 4), np.uint8)
    pixels[..., :3] = (200, 100, 0)
    pixels[..., 3] = np.arange(256)
    alpha = np.arange(256)[:, None] / 255
    expected = np.array([200, 100, 0]) * alpha + 255 * (1 - alpha)
    assert np.abs(segmentation_feed(Image(pixels)).pixels[0] - expected).max() <= 0.51


def test_alpha_is_mixed_after_the_conversion() -> None:
    pixels = waves(20, 30, 4)
    rgb = converted(np.ascontiguousarray(pixels[..., :3]), sources.display_p3()).astype(float)
    alpha = pixels[..., 3:] / 255
    expected = rgb * alpha + 255 * (1 - alpha)
    feed = segmentation_feed(tagged(pixels)).pixels
    assert np.abs(feed - expected).max() <= 1.5
