"""A picture cut into pieces with context, and the planes in which JPEG and noise are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.fixing.sliding_dct import Float
from imgpipe.images.image import Image
from imgpipe.pixels.strips import spans

#: Edge of a piece, px: a multiple of 16. It bounds the memory of the planes.
PIECE_PX = 1024
#: What a piece takes while it is fixed, its context included, measured.
PIECE_BYTES = 120 * (PIECE_PX + 160) ** 2
#: Windows that are looked at: all of a picture up to 4 megapixels, else as many spread over it.
_WINDOW_PX, _MOST_WINDOWS = 512, 16
#: Colours of visible pixels are carried this far below transparent ones, px.
_FILL_PX = 12

Place = tuple[slice, slice]


def pieces(image: Image, reach: int, edge: int) -> Iterator[tuple[Place, Place, Place]]:
    """For each piece: its place, its place with ``reach`` px of context, and the first within the second."""
    for inner in product(spans(0, image.height, edge), spans(0, image.width, edge)):
        rows, columns = (slice(max(0, one.start - reach), one.stop + reach) for one in inner)
        first = slice(inner[0].start - rows.start, inner[0].stop - rows.start)
        second = slice(inner[1].start - columns.start, inner[1].stop - columns.start)
        yield inner, (rows, columns), (first, second)


def windows(image: Image) -> Iterator[Place]:
    """Places that stand for the whole picture; their corners are multiples of 16 px."""
    per_edge = _WINDOW_PX * _MOST_WINDOWS**0.5
    step = max(1, int(np.ceil((image.height * image.width) ** 0.5 / per_edge)))
    for top in range(0, image.height, _WINDOW_PX * step):
        for left in range(0, image.width, _WINDOW_PX * step):
            yield slice(top, top + _WINDOW_PX), slice(left, left + _WINDOW_PX)


def planes_at(image: Image, place: Place) -> list[Float]:
    """Y, or Y, Cb and Cr (JFIF), 0..255 and chroma around 0, of :func:`colour_at`."""
    return ycbcr(colour_at(image, place))


def colour_at(image: Image, place: Place) -> Float:
    """(height, width, 1 or 3), 0..255; transparent pixels have colours of their neighbours."""
    colour = image.colour[place].astype(np.float32) * np.float32(255 / image.max_value)
    return colour if image.alpha is None else _filled(colour, image.alpha[place])


def _filled(colour: Float, alpha: npt.NDArray[Any]) -> Float:
    visible = (alpha > 0).astype(np.float32)[..., None]
    edge = (2 * _FILL_PX + 1,) * 2
    total, weight = cv2.blur(colour * visible, edge), cv2.blur(visible, edge)
    weight = weight.reshape(visible.shape)
    mean = total.reshape(colour.shape) / np.maximum(weight, np.float32(1e-6))
    # Farther away: one colour, so that hidden ones have no effect.
    return np.where(visible > 0, colour, np.where(weight > np.float32(1e-6), mean, np.float32(128)))


def ycbcr(colour: Float) -> list[Float]:
    """(height, width, 1 or 3) RGB, 0..255, as its luma, and its chroma around 0 where it has any."""
    if colour.shape[2] == 1:
        return [np.ascontiguousarray(colour[..., 0])]
    luma = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    return [
        luma,
        (colour[..., 2] - luma) * np.float32(1 / 1.772),
        (colour[..., 0] - luma) * np.float32(1 / 1.402),
    ]


def rgb_change(before: Sequence[Float], after: Sequence[Float]) -> Float:
    """What a change of the planes changes in the colours: (height, width, 1 or 3), of 255."""
    luma, *chroma = (new - old for new, old in zip(after, before, strict=True))
    if not chroma:
        return luma[..., None]
    blue, red = chroma
    green = luma - np.float32(0.114 * 1.772 / 0.587) * blue - np.float32(0.299 * 1.402 / 0.587) * red
    return np.stack([luma + np.float32(1.402) * red, green, luma + np.float32(1.772) * blue], axis=-1)
