"""One rounding, at the end, in the wanted depth, whatever rows come at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize_array
from imgpipe.upscaling.color_match import color_correction
from imgpipe.upscaling.finish import Finisher
from imgpipe.upscaling.network_input import ColourInput

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


def _reduced(native: Array, size: tuple[int, int]) -> Any:
    """In 0..1."""
    return cv2.resize(native.astype(np.float32), size, interpolation=cv2.INTER_AREA) / np.float32(65535)


@pytest.fixture
def native() -> Array:
    return np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)


def _finished(
    native: Array,
    size: tuple[int, int],
    dtype: Any,
    source: Array | None = None,
    cuts: Sequence[int] = (),
    **how: Any,
) -> Array:
    """``native`` at ``size``, given in parts that begin at ``cuts``; matched with ``source``."""
    height, width = native.shape[:2] if source is None else source.shape[:2]
    scale = native.shape[0] // height
    mean = _reduced(native, (width, height))
    target = np.zeros((size[1], size[0], 3), dtype)
    picture = ColourInput(Image(np.zeros((height, width, 3), np.uint8) if source is None else source))
    with Finisher(picture, scale, target, color_match=source is not None, **how) as finisher:
        for start, stop in zip([0, *cuts], [*cuts, height], strict=True):
            finisher.take(start, native[start * scale : stop * scale], mean[start:stop])
        finisher.done()
    return target


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_native_size_is_only_rounded(native: Any, dtype: Any) -> None:
    full = np.iinfo(dtype).max
    np.testing.assert_array_equal(_finished(native, (64, 48), dtype), np.floor(native / 65535 * full + 0.5))


@pytest.mark.parametrize("size", [(32, 24), (48, 36), (100, 80)])
def test_other_sizes_are_lanczos(native: Any, size: tuple[int, int]) -> None:
    smooth = np.linspace(0, 60000, 64)[None, :, None] + np.zeros((48, 1, 3)) + native % 2000
    result = _finished(smooth.astype(np.uint16), size, np.uint16)
    expected = np.clip(resize_array(smooth.astype(np.float32), *size, "lanczos"), 0, 65535)
    assert np.abs(result - expected).max() <= 2


def _off(source: Array, scale: int) -> Array:
    """``source`` enlarged by a network that darkens one side, 16 bits."""
    height, width = source.shape[:2]
    wide = cv2.resize(
        source.astype(np.float32) * 257, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC
    )
    darker = np.linspace(0, 3000, width * scale)[None, :, None]
    return np.clip(wide - darker, 0, 65535).astype(np.uint16)


def _drawing(height: int, width: int) -> Array:
    """Black and white areas with hard edges, and some colour."""
    source = np.random.default_rng(1).integers(0, 2, (height // 6 + 1, width // 6 + 1, 3)) * 255
    return source.repeat(6, axis=0).repeat(6, axis=1)[:height, :width].astype(np.uint8)


def test_the_correction_is_added_before_rounding_and_clipped() -> None:
    source = _drawing(100, 64)
    native = _off(source, 2)
    correction = color_correction(np.float32(1 / 255) * source, _reduced(native, (64, 100)))
    wide = cv2.resize(correction, (128, 200), interpolation=cv2.INTER_LINEAR)
    expected = np.clip(np.floor((native / 65535 + wide) * 255 + 0.5), 0, 255)
    result = _finished(native, (128, 200), np.uint8, source)
    assert np.abs(result - expected).max() <= 1
    assert (result == expected).mean() > 0.999
    assert np.abs(result - native / 257).max() > 4, "something is corrected"
    assert result.max() == 255


@pytest.mark.parametrize("size", [(192, 602), (96, 301), (150, 471), (40, 126)])
@pytest.mark.parametrize("width", [96, 97])
def test_rows_may_come_in_any_parts(size: tuple[int, int], width: int) -> None:
    source = _drawing(301 if width == 97 else 302, width)
    native = _off(source, 2)
    cuts = [32, 96, 100, 250, 251]
    for dtype in (np.uint8, np.uint16):
        whole = _finished(native, size, dtype, source, refine=True)
        parts = _finished(native, size, dtype, source, cuts, refine=True)
        np.testing.assert_array_equal(parts, whole)


def test_what_lanczos_clips_is_corrected() -> None:
    source = _drawing(120, 90)

    def shift(*, refine: bool = False) -> float:
        result = _finished(_off(source, 4), (90, 120), np.uint16, source, refine=refine)
        return float(np.abs((result / 257 - source).mean(axis=(0, 1))).max())

    assert shift(refine=True) < 0.6 * shift(), (shift(refine=True), shift())
