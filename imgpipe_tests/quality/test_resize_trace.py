from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from imgpipe.quality.resize_trace import resize_trace

Plane = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def source() -> Plane:
    """Blobs and edges, 200x160."""
    noise = np.random.default_rng(0).normal(0, 1, (160, 200)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray((128 + 900 * smooth).clip(20, 235), np.uint8)


def resized(plane: Plane, width: int, height: int, how: int = cv2.INTER_CUBIC) -> Plane:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=how), np.uint8)


@pytest.mark.parametrize("factor", [2, 2.5, 3, 3.3, 4])
def test_an_enlargement_of_the_source_has_no_trace(source: Plane, factor: float) -> None:
    result = resized(source, round(200 * factor), round(160 * factor))
    assert (resize_trace(source, result) or 0.0) < 5


@pytest.mark.parametrize("to", [2, 3, 3.3])
def test_nor_has_one_that_was_reduced_to_its_size(source: Plane, to: float) -> None:
    whole = resized(source, 800, 640)
    result = resized(whole, round(200 * to), round(160 * to), cv2.INTER_AREA)
    assert (resize_trace(source, result) or 0.0) < 5


@pytest.mark.parametrize("smaller", [1.25, 1.5, 1.7])
@pytest.mark.parametrize("how", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_one_of_a_smaller_source_brought_to_size_has(source: Plane, smaller: float, how: int) -> None:
    size = round(200 / smaller), round(160 / smaller)
    small = resized(resized(source, *size, cv2.INTER_AREA), 4 * size[0], 4 * size[1])
    sharp = np.asarray(small + (small.astype(np.float32) - cv2.GaussianBlur(small, (0, 0), 2)), np.float32)
    trace = resize_trace(source, resized(sharp.clip(0, 255).astype(np.uint8), 800, 640, how))
    assert trace is not None
    assert trace > 6


@pytest.mark.parametrize("before", [1.4, 1.5, 2.6])
def test_a_source_that_was_enlarged_itself_is_no_trace_of_its_result(source: Plane, before: float) -> None:
    once = resized(source, round(200 * before), round(160 * before))
    result = resized(once, 4 * once.shape[1], 4 * once.shape[0], cv2.INTER_LANCZOS4)
    assert (resize_trace(once, result) or 0.0) < 5


def test_nor_is_the_grid_of_a_codec(source: Plane) -> None:
    stored = cv2.imencode(".jpg", resized(source, 600, 480), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    result = np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), np.uint8)
    assert (resize_trace(source, result) or 0.0) < 5


def test_a_screentone_is_no_trace() -> None:
    rows, columns = np.indices((192, 256))
    tone = np.asarray(np.hypot(rows % 5.3 - 2.65, columns % 5.3 - 2.65) < 1.7, np.uint8) * 200 + 30
    assert (resize_trace(tone, resized(tone, 1024, 768)) or 0.0) < 6


@pytest.mark.parametrize("how", [cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
@pytest.mark.parametrize("factor", [2, 2.37, 3, 4])
def test_nor_is_a_pattern_of_whole_pixels(factor: float, how: int) -> None:
    """Cut off, its second differences are all the same, in the source and by whole factors."""
    rows, columns = np.indices((200, 240))
    grid, board = rows % 3 * (columns % 3) > 0, rows // 3 % 2 == columns // 3 % 2
    for pattern in (grid, board, rows % 5 * (columns % 5) > 3):
        drawn = pattern.astype(np.uint8) * 200 + 30
        result = resized(drawn, round(240 * factor), round(200 * factor), how)
        assert (resize_trace(drawn, result) or 0.0) < 6


def test_small_sources_are_not_measured(source: Plane) -> None:
    assert resize_trace(source[:95], resized(source[:95], 800, 380)) is None
