"""The round trip: a result brought back to its source's size by area averaging.

An enlarged picture has no reference of its own size. Established practice compares its area average
with the source: every source pixel covers a block of the result, and a faithful enlargement has the
source's value as the mean of that block. Area averaging is the one reduction that neither rings nor
aliases, so what differs was put there by the enlargement.

Values stay float32 on 0..255 throughout (16-bit values are divided by 257), so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import ConfigError
from imgpipe.images.colour import composite_over, three_channels, to_8_bit, to_srgb
from imgpipe.images.image import Image
from imgpipe.pixels.resize import area_average
from imgpipe.pixels.row_bands import RowBands, Rows
from imgpipe.pixels.strips import spans

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
#: Values on 0..255 as they are stored (uint8) or computed (float32).
Plane = Bytes | Float

#: (first row, row behind the last) of a picture -> their values.
Strip = Callable[[int, int], Plane]

#: Rows of the larger picture that are held as float at once: few enough to stay in the cache.
STRIP_ROWS = 32
#: Pixels of a picture that is read in part.
_STRIP_PX = 2**16

#: Averages of more pixels than this are not kept, but computed when they are read, some px at a time.
KEPT_PX, _BAND_PX = 2**24, 2**18

#: Multiplications up to which no BLAS takes several threads for a product.
_ONE_THREAD = 2**18
#: Columns of which a product takes the mean.
_MOST_COLUMNS = 8

#: A pixel whose block is opaque to this share is solid; the rest is rounding.
_SOLID = 0.9999


def comparison_size(reference: Image, result: Image) -> tuple[int, int]:
    """:func:`common_size` of two pictures of the same proportions.

    Raises :class:`ConfigError` where no single factor, with one pixel of rounding per side, makes
    one size of the other: then they are not the same picture.
    """
    low = max((result.width - 1) / reference.width, (result.height - 1) / reference.height)
    high = min((result.width + 1) / reference.width, (result.height + 1) / reference.height)
    if low > high:
        raise ConfigError(
            f"expected two pictures of the same proportions, got {reference.width}x{reference.height} and "
            f"{result.width}x{result.height}; give the picture that the result was made from"
        )
    return common_size(reference, result)


def common_size(reference: Image, result: Image) -> tuple[int, int]:
    """(width, height) at which the two are compared: the smaller of each side, so nothing is enlarged."""
    return min(reference.width, result.width), min(reference.height, result.height)


def inside_the_cutout(reference: Image, result: Image) -> tuple[Image, Image]:
    """Both pictures where the result is solid, for an opaque reference and a result with alpha.

    What was cut out on purpose is no damage, and in the soft band the cutout's colours differ by design:
    they are freed from the background. Both get the same binary alpha: 1 where all of the result's pixels
    that a pixel at comparison size covers are opaque, and their neighbours too. Other pairs as they are.
    """
    if reference.has_alpha or result.alpha is None:
        return reference, result
    opaque = (result.alpha == result.max_value).astype(np.float32)
    covered = area_average(opaque, common_size(reference, result))
    solid = cv2.erode((covered > _SOLID).astype(np.uint8), np.ones((3, 3), np.uint8))
    return _with_mask(reference, solid), _with_mask(result, solid)


def _with_mask(image: Image, solid: npt.NDArray[Any]) -> Image:
    size = (image.width, image.height)
    mask = cv2.resize(solid, size, interpolation=cv2.INTER_NEAREST)
    pixels = np.empty((*mask.shape, image.colour.shape[2] + 1), image.pixels.dtype)
    pixels[..., :-1] = image.colour
    np.multiply(mask, image.max_value, out=pixels[..., -1], dtype=pixels.dtype)
    return replace(image, pixels=pixels)


def rgb_over(image: Image, background: tuple[int, int, int]) -> Float:
    """(height, width, 3) float32 on 0..255; opaque 8-bit values are kept exactly, 16-bit ones / 257."""
    if image.has_alpha:
        return composite_over(image, background)
    colour = image.pixels.astype(np.float32)
    if image.bit_depth == 16:
        colour /= np.float32(257.0)
    return three_channels(colour)


def rgb_bands(image: Image, background: tuple[int, int, int]) -> RowBands:
    """:func:`rgb_over`, computed when it is read."""

    def compute(rows: slice) -> Float:
        return rgb_over(replace(image, pixels=image.pixels[rows]), background)

    return RowBands((image.height, image.width, 3), STRIP_ROWS, compute)


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture at its own size over black, or over white: its luma, BT.601 on 0..255."""

    image: Image
    white: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    def luma(self, rows: slice = slice(None), columns: slice = slice(None)) -> Float:
        """(rows, columns) float32, not rounded; computed when it is asked for."""
        asked, full = self.image.pixels[rows, columns], np.float32(self.image.max_value)
        luma = np.empty((len(asked), asked[0, :, 0].size), np.float32)
        for strip in spans(0, len(luma), max(1, _STRIP_PX // max(1, luma.shape[1]))):
            part = np.ascontiguousarray(asked[strip])  # A few columns lie far apart in memory.
            grey = luma[strip]
            _grey(part.astype(np.float32), grey)
            if full != 255:
                grey *= np.float32(255) / full
            if self.image.has_alpha:
                alpha = part[..., -1].astype(np.float32) / full
                grey *= alpha
                if self.white:
                    grey += np.float32(255) * (np.float32(1) - alpha)
        return luma

    @cached_property
    def levels(self) -> Bytes:
        """(height, width) rounded; where alpha is partial to within a level."""
        if self.image.bit_depth == 8 and not self.image.has_alpha:
            return np.ascontiguousarray(_grey(self.image.pixels))
        levels = np.empty(self.shape, np.uint8)
        for rows in spans(0, self.image.height, STRIP_ROWS):
            part = self.image.pixels[rows]
            grey = to_8_bit(_grey(part))
            if self.image.has_alpha:
                alpha = to_8_bit(part[..., -1])
                grey = np.asarray(cv2.multiply(grey, alpha, scale=1 / 255), np.uint8)
                if self.white:
                    grey += 255 - alpha
            levels[rows] = grey
        return levels


def _grey(pixels: npt.NDArray[Any], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """(height, width, 1..4) -> (height, width) luma, of the same dtype; into ``out`` where that is given."""
    if pixels.shape[2] > 2:
        code = cv2.COLOR_RGB2GRAY if pixels.shape[2] == 3 else cv2.COLOR_RGBA2GRAY
        return cv2.cvtColor(pixels, code, out)
    if out is not None:
        out[:] = pixels[..., 0]
    return pixels[..., 0]


@dataclass(frozen=True, slots=True)
class Reduced:
    """A picture over one background, at comparison size and at its own.

    ``rgb`` (height, width, 3) area average, float32 or as stored (:func:`reduce_pair`), on 0..255;
    ``alpha`` (height, width) float32 on 0..1, ``None`` where opaque. Of large pictures both are computed when
    they are read. ``full``: the picture at its own size.
    """

    rgb: Rows
    alpha: Rows | None
    full: Shown

    def over_white(self, *, in_place: bool = False) -> Reduced:
        """The same over white, for a picture over black: 255 (1 - alpha) brighter, averages being linear.

        ``in_place``: what was over black is no longer needed, its memory is used.
        """
        if self.alpha is None:
            return self
        alpha, rgb = self.alpha, self.rgb
        if isinstance(rgb, RowBands):
            brighter: Rows = rgb.map(lambda values, rows: over_white(values, alpha, rows))
        else:
            brighter = rgb if in_place else np.empty_like(rgb)
            for rows in spans(0, rgb.shape[0], STRIP_ROWS):
                brighter[rows] = over_white(rgb[rows], alpha, rows)
        return replace(self, rgb=brighter, full=replace(self.full, white=True))


def largest_channel(values: npt.NDArray[Any]) -> Float:
    """(height, width, 3) -> (height, width) float32."""
    largest, *others = cv2.split(values)
    for other in others:
        cv2.max(largest, other, largest)
    return np.asarray(largest, np.float32)


def over_white(values: Plane, alpha: Rows | None, rows: slice) -> Float:
    """``rows`` of a picture's RGB over black as they are over white."""
    values = np.asarray(values, np.float32)
    if alpha is None:
        return values
    missing = np.float32(255.0) * (np.float32(1.0) - alpha[rows])
    return np.asarray(cv2.add(values, cv2.merge([missing] * 3)), np.float32)


def reduce_picture(image: Image, size: tuple[int, int], as_stored: bool = False) -> Reduced:
    """The picture over black: its RGB averaged by area to ``size`` = (width, height).

    Works in strips: beside the results it holds one strip. Above :data:`KEPT_PX` the RGB is not kept.
    ``as_stored``: the RGB is the picture's own pixels.
    """
    if as_stored:
        rgb: Rows = cast(Bytes, image.pixels)
    elif size[0] * size[1] <= KEPT_PX:
        rgb = _average(image, size, (3,), partial(_rgb_over_black, image), slice(0, size[1]))
    else:
        rgb = reduced_rgb(image, size)
    return Reduced(rgb, reduce_alpha(image, size), Shown(image))


def reduce_pair(reference: Image, result: Image, size: tuple[int, int]) -> tuple[Reduced, Reduced]:
    """Both by :func:`reduce_picture`; ``rgb`` is the stored uint8 where both are opaque 8-bit RGB of that
    size: the same values in a quarter of the memory."""
    as_stored = all(
        image.channels == 3 and image.bit_depth == 8 and (image.width, image.height) == size
        for image in (reference, result)
    )
    return reduce_picture(reference, size, as_stored), reduce_picture(result, size, as_stored)


def reduced_rgb(image: Image, size: tuple[int, int]) -> RowBands:
    """The picture over black, (height, width, 3) float32 on 0..255, averaged when it is read."""
    return _bands(image, size, (3,), partial(_rgb_over_black, image))


def shown_rgb(image: Image, size: tuple[int, int]) -> RowBands:
    """:func:`reduced_rgb` of the picture as an sRGB screen shows it, never whole there."""

    def strip(top: int, bottom: int) -> Plane:
        return _rgb_over_black(to_srgb(replace(image, pixels=image.pixels[top:bottom])), 0, bottom - top)

    return _bands(image, size, (3,), strip)


def _bands(image: Image, size: tuple[int, int], channels: tuple[int, ...], strip: Strip) -> RowBands:
    step = _step(image, size)
    band_rows = max(1, _BAND_PX // size[0] // step) * step
    shape = (size[1], size[0], *channels)
    return RowBands(shape, band_rows, lambda rows: _average(image, size, channels, strip, rows))


def _average(
    image: Image, size: tuple[int, int], channels: tuple[int, ...], strip: Strip, rows: slice
) -> Float:
    """Rows of the area average of what ``strip`` makes of the picture."""
    width, height = size
    averaged = np.empty((rows.stop - rows.start, width, *channels), np.float32)
    for part in spans(rows.start, rows.stop, _step(image, size)):
        top, bottom = rows_covered(part.start, part.stop, image.height, height)
        span = (part.start, part.stop)
        own = slice(part.start - rows.start, part.stop - rows.start)
        averaged[own] = average_rows(strip(top, bottom), width, span, top, image.height / height)
    return averaged


def _step(image: Image, size: tuple[int, int]) -> int:
    """Rows of the average that are made of :data:`STRIP_ROWS` rows of the picture."""
    return max(1, int(STRIP_ROWS / (image.height / size[1])))


def _rgb_over_black(image: Image, top: int, bottom: int) -> Plane:
    """Rows of the picture times their alpha, (rows, width, 3) on 0..255: float32, or bytes as stored."""
    pixels = image.pixels[top:bottom]
    alpha = image.alpha
    if alpha is None and image.bit_depth == 8:
        return np.asarray(three_channels(pixels), np.uint8)
    if alpha is None:
        return rgb_over(replace(image, pixels=pixels), (0, 0, 0))
    colour = np.ascontiguousarray(three_channels(image.colour[top:bottom]))
    mask = cv2.merge([np.ascontiguousarray(alpha[top:bottom])] * 3)
    product = cv2.multiply(
        np.asarray(colour, alpha.dtype), mask, scale=255.0 / image.max_value**2, dtype=cv2.CV_32F
    )
    return np.asarray(product, np.float32).reshape(colour.shape)


def reduce_alpha(image: Image, size: tuple[int, int]) -> Rows | None:
    """Area average of the alpha channel, (height, width) float32 in 0..1; ``None`` for opaque pictures."""
    alpha = image.alpha
    if alpha is None:
        return None
    full = np.float32(image.max_value)
    if size[0] * size[1] <= KEPT_PX:
        return area_average(alpha, size) / full
    return _bands(image, size, (), lambda top, bottom: alpha[top:bottom].astype(np.float32) / full)


def rows_covered(first: int, last: int, full: int, height: int) -> tuple[int, int]:
    """Rows of the full picture that output rows first..last touch, in exact integer arithmetic."""
    return first * full // height, -(-last * full // height)


def average_rows(rows: Plane, width: int, span: tuple[int, int], top: int, ratio: float) -> Float:
    """Output rows ``span`` from the full-size ``rows`` that cover them, the first of which is row ``top``."""
    averaged: Float
    first, last = span
    if ratio.is_integer() and rows.dtype == np.uint8:
        by_row = rows.reshape(last - first, int(ratio), -1)
        sums = np.zeros((last - first, by_row.shape[2]), np.float32)
        for row in range(int(ratio)):
            cv2.accumulate(by_row[:, row], sums)
        averaged = _average_across(sums.reshape(last - first, *rows.shape[1:]), width)
        averaged /= np.float32(ratio)
        return averaged
    if ratio.is_integer():
        down = np.full((1, int(ratio)), 1 / ratio, np.float32)  # A product is faster than OpenCV's average.
        narrow: Float = np.matmul(down, rows.reshape(last - first, int(ratio), -1))
        return area_average(narrow.reshape(last - first, *rows.shape[1:]), (width, last - first))
    across = area_average(rows, (width, rows.shape[0]))
    edges = (np.arange(first, last + 1) * ratio - top)[:, None]
    source = np.arange(rows.shape[0])
    covered = np.minimum(edges[1:], source + 1) - np.maximum(edges[:-1], source)
    weights = (np.maximum(covered, 0.0) / ratio).astype(np.float32)
    averaged = weights @ across.reshape(rows.shape[0], -1)
    return averaged.reshape(last - first, width, *rows.shape[2:])


def _average_across(values: Float, width: int) -> Float:
    """(rows, columns[, channels]) averaged down to ``width`` columns, by a product where that is small: it
    takes two thirds of the time of OpenCV's average."""
    rows, columns = values.shape[:2]
    factor, channels = columns // width, values.size // (rows * columns)
    if columns % width or not 1 < factor <= _MOST_COLUMNS or columns * channels**2 > _ONE_THREAD:
        return area_average(values, (width, rows))
    averaged: Float = np.matmul(
        values.reshape(rows, width, factor * channels), _means_of_channels(factor, channels)
    )
    return averaged.reshape(rows, width, *values.shape[2:])


@cache
def _means_of_channels(factor: int, channels: int) -> Float:
    """(factor x channels, channels): what a row of pixels is multiplied by for their mean."""
    return np.tile(np.eye(channels, dtype=np.float32) / np.float32(factor), (factor, 1))
