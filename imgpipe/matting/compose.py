"""Composites a finished cutout on another background, and extracts its mask."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from imgpipe.errors import ConfigError
from imgpipe.images.colour import fitted, from_srgb, three_channels, to_srgb
from imgpipe.images.image import Image, Pixels
from imgpipe.images.rgb_space import space_of
from imgpipe.pixels.resize import resize
from imgpipe.pixels.strips import spans

Colour = tuple[int, int, int]

#: Rows that are held as float at once.
_STRIP_ROWS = 128


def composite_on(cutout: Image, background: Colour | Image) -> Image:
    """``cutout`` over a colour or a picture, at the cutout's size and bit depth, in colour.

    ``background``: sRGB red, green and blue in 0..255, or a picture, which is enlarged or reduced until it
    covers the cutout and then cut centrally. It is converted to the cutout's profile, where the two differ.
    Where the background is translucent itself, so is the result: RGBA, straight; else it is RGB. Pixels that
    are opaque in the cutout keep its values, and those that are transparent take the background's. The
    cutout's ICC profile, EXIF and XMP are kept; a grey cutout with a profile is converted to sRGB, with a
    note, because the result is in colour.

    Raises :class:`ConfigError` for a colour outside 0..255.
    """
    cutout = fitted(cutout)
    if cutout.icc is not None and cutout.channels <= 2:
        note = "converted to sRGB: the picture is now in colour, its ICC profile was for grey"
        cutout = replace(to_srgb(cutout), icc=None, notes=(*cutout.notes, note))
    behind = _covering(_as_picture(background), cutout.width, cutout.height)
    notes = cutout.notes
    if behind.icc != cutout.icc:
        behind, space = from_srgb(to_srgb(behind), cutout.icc), space_of(cutout.icc)
        if space is not None and space.tables:
            notes = (*notes, "background's colours approximate: the cutout's ICC profile is a table")
    translucent = behind.alpha is not None and bool((behind.alpha < behind.max_value).any())
    pixels = np.empty((cutout.height, cutout.width, 4 if translucent else 3), cutout.pixels.dtype)
    for rows in spans(0, cutout.height, _STRIP_ROWS):
        pixels[rows] = _over(cutout, behind, rows, translucent=translucent)
    return replace(cutout, pixels=cast(Pixels, pixels), notes=notes)


def mask_of(cutout: Image) -> Image:
    """The alpha of ``cutout`` as a grey picture of the same size and bit depth, without metadata; all white
    where the cutout has no alpha."""
    if cutout.alpha is None:
        pixels = np.full((cutout.height, cutout.width, 1), cutout.max_value, cutout.pixels.dtype)
    else:
        pixels = np.ascontiguousarray(cutout.alpha[..., None])
    return Image(cast(Pixels, pixels), source_format=cutout.source_format, notes=cutout.notes)


def _as_picture(background: Colour | Image) -> Image:
    if isinstance(background, Image):
        return background
    if len(background) != 3 or not all(0 <= value <= 255 for value in background):
        raise ConfigError(
            f"background: expected red, green and blue in 0..255 or a picture, got {background!r}"
        )
    return Image(np.array(background, np.uint8).reshape(1, 1, 3))


def _covering(picture: Image, width: int, height: int) -> Image:
    """``picture`` scaled by one factor until it covers ``width`` x ``height``, and cut centrally."""
    factor = max(width / picture.width, height / picture.height)
    # The part that will be seen is cut out first, so that a long strip is never enlarged as a whole.
    seen_width = min(picture.width, max(1, round(width / factor)))
    seen_height = min(picture.height, max(1, round(height / factor)))
    left, top = (picture.width - seen_width) // 2, (picture.height - seen_height) // 2
    part = np.ascontiguousarray(picture.pixels[top : top + seen_height, left : left + seen_width])
    shrinks = seen_width >= width and seen_height >= height
    seen = Image(cast(Pixels, part), picture.icc)
    return resize(seen, width, height, "area" if shrinks else "bicubic")


def _over(cutout: Image, behind: Image, rows: slice, *, translucent: bool) -> Pixels:
    """Porter and Duff's over, on straight alpha in float64, rounded to the cutout's depth."""
    alpha, front = _strip(cutout, rows)
    below_alpha, below = _strip(behind, rows)
    shown = below_alpha * (1.0 - alpha)
    total = alpha + shown
    mixed = (front * alpha + below * shown) / np.where(total > 0, total, 1.0)
    planes = [mixed, total] if translucent else [mixed]
    levels = np.concatenate(planes, axis=2) * cutout.max_value
    return cast(Pixels, np.floor(levels + 0.5).astype(cutout.pixels.dtype))


def _strip(picture: Image, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """(rows, width, 1) alpha and (rows, width, 3) colour, float64 in 0..1."""
    values = picture.pixels[rows] / np.float64(picture.max_value)
    colour = values[..., : picture.channels - picture.has_alpha]
    alpha = values[..., -1:] if picture.has_alpha else np.ones_like(values[..., :1])
    return alpha, three_channels(colour)
