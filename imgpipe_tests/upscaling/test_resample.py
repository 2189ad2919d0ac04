"""Classical enlarging against scikit-image and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgpipe.errors import LimitExceeded
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel, resize
from imgpipe.settings import LimitSettings
from imgpipe.upscaling.resample import ResampleUpscaler
from imgpipe.upscaling.upscaler import TargetSize
from imgpipe_tests.upscaling.conftest import Picture


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_depth_and_size(kernel: Kernel, dtype: Any, channels: int, picture: Picture) -> None:
    result = ResampleUpscaler(TargetSize(1.5), kernel).upscale(picture(21, 33, channels, dtype))
    assert result.image.pixels.shape == (50, 32, channels)
    assert result.image.pixels.dtype == dtype
    assert (result.model.name, result.model.backend) == (kernel, "classical")


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
