"""No fringe, no ghost line, in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgpipe.enhancement import resample as module
from imgpipe.enhancement.resample import resample
from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Image
from imgpipe.images.resize import resize
from imgpipe_tests.enhancement.pictures import disc, waves

KERNELS = ["lanczos", "bicubic"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(60, 60), (33, 47), (13, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_under_checkerboard_alpha_never_shows(kernel: Any, size: tuple[int, int], dtype: Any) -> None:
    top = np.iinfo(dtype).max
    y, x = np.mgrid[0:30, 0:30]
    visible = (x + y) % 2 == 0
    pixels = np.zeros((30, 30, 4), dtype)
    pixels[visible] = (top, 0, 0, top)
    pixels[~visible] = (0, top, 0, 0)
    result = resample(Image(pixels), *size, kernel).pixels
    shown = result[..., 3] > 0
    assert shown.any()
    assert np.abs(result[shown].astype(int)[:, :3] - (top, 0, 0)).max() == 0
    assert not result[~shown].any()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("size", [120, 67, 20])
def test_hard_edges_leave_no_ghost_line(kernel: Any, hidden: int, size: int) -> None:
    image = Image(disc(40, 12, hidden))
    result = resample(image, size, size, kernel).pixels
    step = 40 / size
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * step - 20
    distance = np.hypot(x, y)
    reach = 1.5 * max(1.0, step) * 1.5
    assert (result[distance < 12 - reach][:, 3] == 255).all(), "opaque stays exactly opaque"
    assert (result[distance > 12 + reach] == 0).all(), "empty stays exactly empty"
    shown = result[..., 3] > 0
    assert np.abs(result[shown][:, :3].astype(int) - (180, 120, 40)).max() <= 1


def test_a_plain_resize_does_leave_one() -> None:
    """What the bound is for: beside a straight edge, 8 of 255 outside and 247 inside."""
    pixels = np.zeros((12, 20, 4), np.uint8)
    pixels[:, :10] = (180, 120, 40, 255)
    plain = resize(Image(pixels), 60, 36, "lanczos").pixels[18, :, 3]
    bounded = resample(Image(pixels), 60, 36, "lanczos").pixels[18, :, 3]
    assert plain[32:].max() >= 5
    assert plain[:28].min() <= 250
    assert bounded[32:].max() == 0
    assert bounded[:28].min() == 255
    assert np.array_equal(plain[28:32], bounded[28:32]), "the edge itself stays as sharp"


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_soft_alpha_is_the_plain_resize(channels: int, depth: int) -> None:
    pixels = waves(24, 36, channels, depth)
    top = np.iinfo(pixels.dtype).max
    y, x = np.mgrid[0:24, 0:36]
    pixels[..., -1] = top // 4 + (top // 120) * (x + y)  # within its neighbours everywhere
    image = Image(pixels)
    inner = np.s_[3:-3, 3:-3]
    difference = (
        resample(image, 54, 36, "lanczos").pixels[inner].astype(int)
        - resize(image, 54, 36, "lanczos").pixels[inner]
    )
    assert np.abs(difference).max() == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_reduction_averages_all_that_a_pixel_covers(axis: int) -> None:
    """Opaque lines, 3 of every 8, become their mean, not what lies at the pixel's centre."""
    position = np.indices((96, 96))[axis] % 8
    alpha = np.where((position >= 3) & (position < 6), 255, 0).astype(np.uint8)
    result = resample(Image(np.dstack([alpha, alpha])), 12, 12, "lanczos").pixels[3:-3, 3:-3]
    assert np.abs(result[..., 1].astype(int) - 255 * 3 / 8).max() <= 8
    assert (result[..., 0] == 255).all()


def test_the_same_size_is_the_same_picture() -> None:
    image = Image(disc(20, 5, 77))
    assert resample(image, 20, 20, "lanczos") is image


def test_no_memory_is_one_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Image:
        raise MemoryError

    monkeypatch.setattr(module, "resize", refuse)
    with pytest.raises(OutOfMemory, match="run fewer workers"):
        resample(Image(waves(5, 5)), 10, 10, "lanczos")
