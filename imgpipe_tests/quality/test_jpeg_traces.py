from __future__ import annotations

import cv2
import numpy as np
import pytest

from imgpipe.quality.fine_detail import smooth_mask, spread_of
from imgpipe.quality.jpeg_traces import jpeg_traces
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge


def traces(source: U8, result: U8) -> float:
    planes = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in (source, result)]
    value = jpeg_traces(planes[1], smooth_mask(spread_of(planes[0])))
    assert value is not None
    return value


def stored(pixels: U8, quality: int) -> U8:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1))


@pytest.fixture(scope="module")
def source() -> U8:
    return area(draw(5, 256, 192, 4), 4)


def test_jpeg_is_seen_and_a_clean_result_is_not(source: U8) -> None:
    clean = enlarge(source, 4)
    values = [traces(source, clean)] + [traces(source, stored(clean, quality)) for quality in (70, 40, 20)]
    assert values[0] < 1.2, values
    assert values[0] + 0.5 < values[1] < values[2] < values[3], values


def test_a_jpeg_grid_of_the_source_is_not_that_of_the_result(source: U8) -> None:
    small = stored(source, 40)
    assert traces(small, enlarge(small, 4)) < 1.3


@pytest.mark.parametrize("levels_per_px", [0.25, 0.5, 1.0])
def test_a_rounded_ramp_has_no_traces(levels_per_px: float) -> None:
    ramp = np.rint(np.arange(160) * levels_per_px).astype(np.uint8)
    source = np.repeat(np.broadcast_to(ramp, (128, 160))[..., None], 3, axis=2)
    assert traces(source, enlarge(np.ascontiguousarray(source), 4)) < 1.2


def test_without_smooth_places_it_is_not_measured() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert jpeg_traces(np.repeat(np.repeat(noise, 4, 0), 4, 1), smooth_mask(spread_of(noise))) is None
    assert jpeg_traces(np.zeros((40, 40), np.uint8), np.full((10, 10), 255, np.uint8)) is None
    for height, width in ((1, 1), (3, 3), (2**14, 3)):  # No third difference fits, or next to none.
        assert jpeg_traces(np.zeros((height, width), np.uint8), np.full((1, 1), 255, np.uint8)) is None


def test_by_eight_the_grid_is_that_of_the_sources_pixels(source: U8) -> None:
    smooth = np.full(source.shape[:2], 255, np.uint8)
    assert jpeg_traces(enlarge(source, 8)[..., 1], smooth) is None
