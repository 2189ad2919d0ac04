"""Classical enlarging against scikit-image and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.metrics

from imgpipe.errors import LimitExceeded
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel, resize
from imgpipe.settings import LimitSettings
from imgpipe.upscaling.resample import ResampleUpscaler
from imgpipe.upscaling.upscaler import TargetSize

Picture = Callable[..., Image]


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_depth_and_size(kernel: Kernel, dtype: Any, channels: int, picture: Picture) -> None:
    result = ResampleUpscaler(TargetSize(1.5), kernel).upscale(picture(21, 33, channels, dtype))
    assert result.image.pixels.shape == (50, 32, channels)
    assert result.image.pixels.dtype == dtype
    assert (result.model.name, result.model.backend) == (kernel, "classical")


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
def test_a_smooth_picture_is_interpolated_well(kernel: Kernel) -> None:
    def wave(n: int) -> Any:
        t = (np.arange(n) + 0.5) / n * 6
        values = 0.5 + 0.4 * np.sin(t)[:, None] * np.cos(t)[None]
        return np.repeat((values * 255).round().astype(np.uint8)[..., None], 3, axis=2)

    result = ResampleUpscaler(TargetSize(4), kernel).upscale(Image(wave(64))).image.pixels
    assert skimage.metrics.peak_signal_noise_ratio(wave(256), result) > 45


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("hidden", [0, 255])
def test_hidden_colours_do_not_bleed(kernel: Kernel, hidden: int) -> None:
    pixels = np.full((30, 30, 4), hidden, np.uint8)
    pixels[..., 3] = 0
    pixels[8:22, 8:22] = (180, 120, 40, 255)
    result = ResampleUpscaler(TargetSize(3), kernel).upscale(Image(pixels)).image.pixels
    visible = result[..., 3] > 0
    assert np.abs(result[visible][:, :3].astype(int) - (180, 120, 40)).max() <= 1
    assert (result[30:60, 30:60, 3] == 255).all()
    assert (result[~visible] == 0).all()


def test_opaque_colours_are_the_plain_resize(picture: Picture) -> None:
    image = picture(40, 30)
    result = ResampleUpscaler(TargetSize(2), "lanczos").upscale(image).image.pixels
    np.testing.assert_array_equal(result, resize(image, 80, 60, "lanczos").pixels)


def test_metadata_stays_and_the_fallback_is_recorded(picture: Picture) -> None:
    image = Image(picture(5, 5).pixels, icc=b"profile", notes=("note",))
    result = ResampleUpscaler(TargetSize(2), "lanczos", fallback_reason="no weights").upscale(image)
    assert (result.image.icc, result.image.notes) == (b"profile", ("note",))
    assert result.model.fallback_reason == "no weights"


def test_limits_hold(picture: Picture) -> None:
    with pytest.raises(LimitExceeded, match="max_output_pixels"):
        ResampleUpscaler(TargetSize(10), "bicubic", limits=LimitSettings(max_output_pixels=100)).upscale(
            picture(8, 8)
        )
