from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from imgpipe.errors import ConfigError
from imgpipe.images.colour import composite_over
from imgpipe.images.image import Image
from imgpipe.pixels.round_trip import comparison_size, reduce_alpha, reduce_picture
from imgpipe_tests.quality.drawings import draw, image


def exact_area(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Area average in float64 by coverage matrices: the definition, written down."""

    def coverage(n: int, m: int) -> np.ndarray:
        edges = np.arange(m + 1) * n / m
        cells = np.arange(n)
        inner = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return np.clip(inner, 0, None) * m / n

    rows, columns = coverage(pixels.shape[0], size[1]), coverage(pixels.shape[1], size[0])
    return np.einsum("ri,ijc,kj->rkc", rows, pixels.astype(np.float64), columns, optimize=True)


@pytest.mark.parametrize("size", [(64, 48), (60, 44), (85, 63), (256, 192), (1, 1), (255, 1), (192, 96)])
def test_equals_the_definition(size: tuple[int, int]) -> None:
    pixels = draw(1, 64, 48)
    small = reduce_picture(image(pixels), size).rgb
    error = np.abs(small - exact_area(pixels, size))
    assert error.max() < 0.2, f"max {error.max()}, mean {error.mean()}"  # cv2 drops overlaps below 1e-3
    assert error.mean() < 5e-3


def test_integer_factor_equals_opencv_and_block_means() -> None:
    pixels = draw(2, 64, 400)
    reduced = reduce_picture(image(pixels), (64, 400))
    small, luma = reduced.rgb[:], reduced.full.luma()
    whole = cv2.resize(pixels.astype(np.float32), (64, 400), interpolation=cv2.INTER_AREA)
    assert np.array_equal(small, whole)
    blocks = pixels.reshape(400, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() < 1e-4
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - pixels @ weights).max() < 1e-3


def test_same_size_is_exact_for_8_bit_and_grey_is_repeated() -> None:
    pixels = draw(3, 40, 30, 1)
    assert np.array_equal(reduce_picture(image(pixels), (40, 30)).rgb[:], pixels)
    grey = reduce_picture(image(pixels[..., :1]), (40, 30)).rgb[:]
    assert np.array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))


def test_16_bit_is_scaled_to_255() -> None:
    pixels = (draw(3, 40, 30, 1).astype(np.uint16)) * 257
    assert np.abs(reduce_picture(Image(pixels), (40, 30)).rgb[:] - pixels / 257).max() < 1e-4


def test_alpha_is_premultiplied_by_the_composite() -> None:
    """A transparent pixel's colour must not leak: half white, half invisible red over black is mid grey."""
    pixels = np.array([[[255, 255, 255, 255], [255, 0, 0, 0]]], np.uint8)
    reduced = reduce_picture(Image(pixels), (1, 1))
    assert reduced.rgb[:][0, 0] == pytest.approx([127.5] * 3)
    assert reduced.over_white().rgb[:][0, 0] == pytest.approx([255] * 3)
    assert reduce_alpha(Image(pixels), (1, 1)) == pytest.approx(np.array([[0.5]]))
    assert reduce_alpha(image(pixels[..., :3]), (1, 1)) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_over_white_equals_the_composite_over_white(dtype: type, channels: int) -> None:
    """Against compositing every pixel and averaging then, also where the factor is no whole number."""
    rng = np.random.default_rng(4)
    pixels: Any = rng.integers(0, np.iinfo(dtype).max, (600, 90, channels), dtype, endpoint=True)
    for size in ((90, 600), (30, 200), (41, 273)):
        reduced = reduce_picture(Image(pixels), size)
        for got, background in ((reduced, 0), (reduced.over_white(), 255)):
            whole = composite_over(Image(pixels), (background,) * 3)
            truth = exact_area(whole, size)
            error = np.abs(got.rgb - truth)
            assert error.max() < 0.2, f"max {error.max()}, mean {error.mean()} at {size}"
            assert error.mean() < 5e-3
            luma = whole @ [0.299, 0.587, 0.114]
            part = slice(5, 500), slice(3, 80)
            assert np.abs(got.full.luma(*part) - luma[part]).max() < 1e-3
            assert np.abs(got.full.levels - luma).max() < 1.5  # Rounded, times alpha, rounded.


def test_an_opaque_picture_is_the_same_over_white() -> None:
    reduced = reduce_picture(image(draw(3, 40, 30, 1)), (40, 30))
    assert reduced.over_white() is reduced


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((100, 50), (400, 200), (100, 50)),
        ((101, 51), (151, 76), (101, 51)),
        ((400, 200), (100, 50), (100, 50)),
        ((1, 1), (4, 4), (1, 1)),
        ((100, 100), (101, 99), (100, 99)),
    ],
)
def test_comparison_size(before: tuple[int, int], after: tuple[int, int], expected: tuple[int, int]) -> None:
    def blank(size: tuple[int, int]) -> Image:
        return Image(np.zeros((size[1], size[0], 1), np.uint8))

    assert comparison_size(blank(before), blank(after)) == expected


def test_other_proportions_are_refused() -> None:
    with pytest.raises(ConfigError, match="same proportions, got 100x50 and 200x110"):
        comparison_size(Image(np.zeros((50, 100, 1), np.uint8)), Image(np.zeros((110, 200, 1), np.uint8)))
