"""Thumbnails of sources, results and differences.

All functions return uint8 RGB (height, width, 3), sRGB, opaque: transparent pictures are shown over a
background. Pictures are reduced by area averaging, premultiplied, so that no colour of invisible
pixels leaks in.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import EncodeError
from imgpipe.images.colour import three_channels, to_8_bit, to_srgb
from imgpipe.images.image import Image
from imgpipe.pixels.difference import heat_colours, heat_map, max_pool
from imgpipe.pixels.strips import spans

Bytes8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

#: Longest side of a thumbnail, px.
MAX_SIDE_PX = 320
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
    for rows in spans(0, image.height, _STRIP_ROWS):
        strip = to_8_bit(image.pixels[rows])
        rgb = three_channels(strip[..., : image.channels - image.has_alpha])
        if alpha is not None:
            alpha[rows] = strip[..., -1]
            weight = np.repeat(strip[..., -1:], 3, axis=2)
            colour[rows] = cv2.multiply(np.ascontiguousarray(rgb), weight, scale=1.0 / 255.0)
        else:
            colour[rows] = rgb
    return colour, alpha


def area_thumbnail(image: Image, size: tuple[int, int], *, on_checkerboard: bool = True) -> Bytes8:
    """The picture at ``size`` = (width, height), transparent parts over a checkerboard or white."""
    return _shown(image, size, cv2.INTER_AREA, on_checkerboard=on_checkerboard)


def over(premultiplied_rgb: Bytes8, alpha: Bytes8, ground: Bytes8) -> Bytes8:
    """Porter-Duff "over" on an opaque ground; all (height, width, ...) uint8."""
    seen = ground.astype(np.float32) * (255.0 - alpha[..., None].astype(np.float32)) / 255.0
    return np.clip(np.rint(premultiplied_rgb + seen), 0, 255).astype(np.uint8)


def checkerboard(size: tuple[int, int], cell_px: int = _CHECKER_PX) -> Bytes8:
    """Grey squares, shown where a picture is transparent; ``size`` = (width, height)."""
    width, height = size
    odd = (np.arange(height)[:, None] // cell_px + np.arange(width)[None, :] // cell_px) % 2
    grey = np.where(odd == 1, _CHECKER_DARK, _CHECKER_LIGHT).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def heat_thumbnail(reference: Image, levels: Float, size: tuple[int, int]) -> Bytes8:
    """The heat map of diff.png at ``size`` = (width, height).

    ``levels``: differences (height, width), 0..255; their maximum stays, since averaging hides a thin seam.
    """
    return np.take(heat_colours(), heat_map(max_pool(levels, size), reference), axis=0)


def hottest_region(
    levels: Float, reference: Image, result: Image, side_px: int = MAX_SIDE_PX
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Where the two differ most: (left, top, width, height) in the reference and in the result.

    ``levels``: differences at the smaller picture's size. The box in the result is ``side_px`` at most on
    each side, so that it is seen pixel by pixel.
    """
    rows, columns = levels.shape
    width = max(1, min(columns, round(side_px * columns / result.width)))
    height = max(1, min(rows, round(side_px * rows / result.height)))
    blurred = cv2.boxFilter(levels, cv2.CV_32F, (min(15, width), min(15, height)))
    y, x = np.unravel_index(int(np.argmax(blurred)), blurred.shape)
    left = int(np.clip(x - width // 2, 0, columns - width))
    top = int(np.clip(y - height // 2, 0, rows - height))

    def box_in(picture: Image) -> tuple[int, int, int, int]:
        scale_x, scale_y = picture.width / columns, picture.height / rows
        first_x, first_y = round(left * scale_x), round(top * scale_y)
        last_x, last_y = round((left + width) * scale_x), round((top + height) * scale_y)
        return first_x, first_y, max(1, last_x - first_x), max(1, last_y - first_y)

    return box_in(reference), box_in(result)


def crop_thumbnail(image: Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> Bytes8:
    """A part of the picture at ``size`` without any smoothing: pixels stay squares."""
    left, top, width, height = box
    part = replace(image, pixels=image.pixels[top : top + height, left : left + width])
    return _shown(part, size, cv2.INTER_NEAREST, on_checkerboard=True)


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


def _shown(image: Image, size: tuple[int, int], interpolation: int, *, on_checkerboard: bool) -> Bytes8:
    colour, alpha = premultiplied(to_srgb(image))
    shown = np.asarray(cv2.resize(colour, size, interpolation=interpolation), np.uint8)
    if alpha is not None:
        alpha = np.asarray(cv2.resize(alpha, size, interpolation=interpolation), np.uint8)
        shown = over(shown, alpha, checkerboard(size) if on_checkerboard else np.full_like(shown, 255))
    return shown
