from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.quality.occupancy import occupancy_ratio, occupied_levels
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.defects import plant
from imgpipe_tests.quality.drawings import area, draw, enlarge, image


def test_counts_levels_of_a_ramp() -> None:
    ramp = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (10, 1))
    assert occupied_levels(image(np.repeat(ramp[..., None], 3, axis=2))) == 3 * 128
    assert occupied_levels(image(ramp)) == 3 * 128  # grey counts as three equal channels


def test_16_bit_counts_8_bit_levels() -> None:
    ramp = (np.arange(65536, dtype=np.uint32)).astype(np.uint16).reshape(256, 256, 1)
    assert occupied_levels(Image(ramp)) == 3 * 256
    coarse = (ramp // 512 * 512).astype(np.uint16)
    assert occupied_levels(Image(coarse)) == 3 * 128


def test_posterised_falls_and_clean_does_not() -> None:
    source = area(draw(2))
    result = enlarge(source)
    assert present(occupancy_ratio(image(source), image(result))) > 0.8
    assert present(occupancy_ratio(image(source), image(present(plant("banding", result))))) < 0.3


def test_transparent_pixels_do_not_count() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 0] = np.arange(256).reshape(16, 16)
    assert occupied_levels(Image(pixels)) is None
    pixels[:2, :, 3] = 255
    assert occupied_levels(Image(pixels)) == 32 + 1 + 1
    assert occupancy_ratio(Image(pixels), Image(pixels)) == pytest.approx(1.0)


@pytest.mark.parametrize("levels", [256, 32])
def test_every_fifth_row_of_a_large_picture_uses_the_same_levels(levels: int) -> None:
    rows, columns = np.mgrid[:2048, :4096]
    grey = ((rows + columns) % 256 // (256 // levels)).astype(np.uint8)
    assert occupied_levels(Image(grey[..., None])) == 3 * levels
