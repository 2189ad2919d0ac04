"""Small pictures that show what was there and what became of it.

All functions return uint8 RGB (height, width, 3), sRGB, opaque: whatever was transparent stands on a
background. Pictures are reduced by area averaging, premultiplied, so that no colour of invisible
pixels leaks in. Differences are reduced by the **maximum** instead: averaging hides a seam of 2 px.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import EncodeError
from imgpipe.images.colour import to_srgb8
from imgpipe.images.icc import is_srgb
from imgpipe.images.image import Image

Bytes8 = npt.NDArray[np.uint8]

#: Longest side of a thumbnail, px.
MAX_SIDE_PX = 320
#: A difference of this many of 255 levels is the hottest colour of the heat map.
HEAT_RANGE = 32
#: From this difference on, the colour covers the grey picture wholly, as in diff.png.
_OPAQUE_FROM = 4
#: Rows converted at once: bounds the extra memory for large pictures.
_STRIP_ROWS = 512
_CHECKER_PX = 8
_CHECKER_LIGHT, _CHECKER_DARK = 235, 200
_WEBP_QUALITY = 82
_WEBP_HEAT_QUALITY = 95


def fit_size(width: int, height: int, max_side: int = MAX_SIDE_PX) -> tuple[int, int]:
    """(width, height) inside ``max_side``, proportions kept, never enlarged, at least 1 px."""
    factor = min(1.0, max_side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def premultiplied(image: Image) -> tuple[Bytes8, Bytes8 | None]:
    """8-bit RGB (height, width, 3), multiplied by alpha, and alpha (height, width) or ``None``.

    16-bit values are divided by 257 and rounded. Opaque RGB of 8 bits is returned as it is.
    """
    if image.channels == 3 and image.bit_depth == 8:
        return np.asarray(image.pixels, np.uint8), None
    colour = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if image.has_alpha else None
    for top in range(0, image.height, _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        strip = _to_8_bit(image.pixels[rows])
        rgb = np.repeat(strip[..., :1], 3, axis=2) if image.channels < 3 else strip[..., :3]
        if alpha is not None:
            alpha[rows] = strip[..., -1]
            weight = np.repeat(strip[..., -1:], 3, axis=2)
            colour[rows] = cv2.multiply(np.ascontiguousarray(rgb), weight, scale=1.0 / 255.0)
        else:
            colour[rows] = rgb
    return colour, alpha


def area_thumbnail(image: Image, size: tuple[int, int], *, on_checkerboard: bool = True) -> Bytes8:
    """The picture at ``size`` = (width, height), transparent parts over a checkerboard or white."""
    colour, alpha = premultiplied(image)
    small = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.uint8)
    if alpha is not None:
        small_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        ground = checkerboard(size) if on_checkerboard else np.full_like(small, 255)
        small = over(small, np.asarray(small_alpha, np.uint8), ground)
    return _to_srgb(small, image)


def over(premultiplied_rgb: Bytes8, alpha: Bytes8, ground: Bytes8) -> Bytes8:
    """Porter-Duff "over" on an opaque ground; all (height, width, ...) uint8."""
    seen = ground.astype(np.float32) * (255.0 - alpha[..., None].astype(np.float32)) / 255.0
    return np.clip(np.rint(premultiplied_rgb + seen), 0, 255).astype(np.uint8)


def checkerboard(size: tuple[int, int], cell_px: int = _CHECKER_PX) -> Bytes8:
    """Grey squares, the usual sign for "nothing here"; ``size`` = (width, height)."""
    width, height = size
    odd = (np.arange(height)[:, None] // cell_px + np.arange(width)[None, :] // cell_px) % 2
    grey = np.where(odd == 1, _CHECKER_DARK, _CHECKER_LIGHT).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def difference(reference: Image, result: Image) -> npt.NDArray[np.uint8]:
    """Largest absolute difference of any channel per reference pixel, (height, width), 0..255.

    The result is area-averaged to the reference's size first. Cutouts are compared over black and over
    white, and the larger difference counts, so that a change of alpha shows as well as one of colour.
    Where only the result has alpha, the reference is seen through that alpha: what was cut away on
    purpose is no difference.
    """
    size = (reference.width, reference.height)
    ref_rgb, ref_alpha = premultiplied(reference)
    out_rgb, out_alpha = premultiplied(result)
    out_rgb = np.asarray(cv2.resize(out_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    if out_alpha is not None:
        out_alpha = np.asarray(cv2.resize(out_alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
    if out_alpha is not None and ref_alpha is None:
        ref_rgb = np.asarray(
            cv2.multiply(ref_rgb, np.repeat(out_alpha[..., None], 3, axis=2), scale=1.0 / 255.0), np.uint8
        )
        ref_alpha = out_alpha
    over_black = _largest_channel(cv2.absdiff(ref_rgb, out_rgb))
    if ref_alpha is None:
        return over_black
    opaque = np.full_like(ref_alpha, 255) if out_alpha is None else out_alpha
    ref_white = cv2.add(ref_rgb, cv2.merge([255 - ref_alpha] * 3))
    out_white = cv2.add(out_rgb, cv2.merge([255 - opaque] * 3))
    return np.maximum(over_black, _largest_channel(cv2.absdiff(ref_white, out_white)))


def _largest_channel(rgb: npt.NDArray[Any]) -> Bytes8:
    """The maximum of three channels per pixel; NumPy's own along the last axis takes ten times as long."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def max_pool(values: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(height, width) reduced to ``size`` = (width, height); the maximum of each block stays."""
    width, height = size
    if width > values.shape[1] or height > values.shape[0]:
        raise ValueError(
            f"max-pooling cannot enlarge {values.shape[1]}x{values.shape[0]} to {width}x{height}"
        )
    tops = np.arange(height) * values.shape[0] // height
    lefts = np.arange(width) * values.shape[1] // width
    rows = np.maximum.reduceat(values, tops, axis=0)
    return np.asarray(np.maximum.reduceat(rows, lefts, axis=1), np.uint8)


def heat_thumbnail(reference: Image, levels: npt.NDArray[np.uint8], size: tuple[int, int]) -> Bytes8:
    """Differences as turbo colours over the grey reference, at ``size``; 0 leaves the grey as it is.

    ``levels``: what :func:`difference` returns. The range is fixed at 0..32 of 255, so that equal
    colours mean equal differences on every picture.
    """
    pooled = max_pool(levels, size)
    grey = cv2.cvtColor(area_thumbnail(reference, size, on_checkerboard=False), cv2.COLOR_RGB2GRAY)
    share = np.minimum(pooled.astype(np.float32) / HEAT_RANGE, 1.0)
    turbo = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    weight = np.minimum(pooled.astype(np.float32) / _OPAQUE_FROM, 1.0)[..., None]
    ground = np.repeat(grey[..., None], 3, axis=2).astype(np.float32) * 0.6 + 90.0
    mixed = np.clip(np.rint(ground * (1 - weight) + turbo * weight), 0, 255)
    return np.asarray(mixed, np.uint8)


def hottest_region(
    levels: npt.NDArray[np.uint8], reference: Image, result: Image, side_px: int = MAX_SIDE_PX
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Where the two differ most: (left, top, width, height) in the reference and in the result.

    The box in the result is ``side_px`` at most on each side, so that it is seen pixel by pixel.
    """
    scale_x, scale_y = result.width / reference.width, result.height / reference.height
    width = max(1, min(reference.width, round(side_px / scale_x)))
    height = max(1, min(reference.height, round(side_px / scale_y)))
    blurred = cv2.boxFilter(levels, cv2.CV_32F, (min(15, width), min(15, height)))
    y, x = np.unravel_index(int(np.argmax(blurred)), blurred.shape)
    left = int(np.clip(x - width // 2, 0, reference.width - width))
    top = int(np.clip(y - height // 2, 0, reference.height - height))
    right, bottom = (left + width) * scale_x, (top + height) * scale_y
    out_left, out_top = round(left * scale_x), round(top * scale_y)
    box = (out_left, out_top, max(1, round(right) - out_left), max(1, round(bottom) - out_top))
    return (left, top, width, height), box


def crop_thumbnail(image: Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> Bytes8:
    """A part of the picture at ``size`` without any smoothing: pixels stay squares."""
    left, top, width, height = box
    pixels = image.pixels[top : top + height, left : left + width]
    colour, alpha = premultiplied(replace(image, pixels=pixels))
    shown = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    if alpha is not None:
        shown_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_NEAREST)
        shown = over(shown, np.asarray(shown_alpha, np.uint8), checkerboard(size))
    return _to_srgb(shown, image)


def encode_webp(rgb: Bytes8, *, fine: bool = False) -> bytes:
    """WebP bytes; ``fine`` for heat maps, whose single-pixel lines must survive."""
    quality = _WEBP_HEAT_QUALITY if fine else _WEBP_QUALITY
    done, data = cv2.imencode(
        ".webp", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    if not done:
        raise EncodeError(f"thumbnail of {rgb.shape[1]}x{rgb.shape[0]} px: OpenCV could not write WebP")
    return bytes(data.tobytes())


def whole_as_webp(image: Image, max_side: int = MAX_SIDE_PX) -> bytes:
    """The whole picture inside ``max_side`` px, as WebP bytes."""
    return encode_webp(area_thumbnail(image, fit_size(image.width, image.height, max_side)))


def _to_srgb(rgb: Bytes8, image: Image) -> Bytes8:
    """Small opaque pixels out of ``image``'s own colour space into sRGB."""
    if image.icc is None or is_srgb(image.icc):
        return rgb
    colour = rgb if image.channels >= 3 else rgb[..., :1]
    return to_srgb8(Image(np.ascontiguousarray(colour), icc=image.icc))


def _to_8_bit(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Bytes8:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    wide = pixels.astype(np.uint32)
    return np.asarray((wide + 128) // 257, np.uint8)
