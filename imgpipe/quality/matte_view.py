"""A matte beside the picture it was cut from, at the size at which they are compared.

The longer side is at most :data:`LONG_SIDE_PX`: what a matte gets wrong is larger than a pixel of that, and
the cost stays bounded. Lengths of the evidence are shares of ``side``, the root of the area.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe.pixels.round_trip import Float, reduce_alpha, shown_rgb
from imgpipe.quality.report import EdgeBox

Mask = npt.NDArray[np.bool_]

LONG_SIDE_PX = 1024
#: From this gradient on an edge is strong, 1/255 per px.
STRONG = 16.0
#: Alpha from which something is there, below which nothing is, from which it is opaque.
PRESENT, ABSENT, OPAQUE = 0.05, 0.02, 0.95


@dataclass(frozen=True, eq=False)
class MatteView:
    """``colour`` (height, width, 3 or 4) float32 on 0..255, over black; the source's own alpha, where it has
    one, is the fourth channel. ``own_alpha``, ``alpha`` (height, width) float32 0..1: the source's and the
    matte's. ``scale``: px of the source per px of these."""

    colour: Float
    own_alpha: Float | None
    alpha: Float
    scale: float

    @property
    def side(self) -> float:
        return float(np.sqrt(self.alpha.size))

    @cached_property
    def channels(self) -> tuple[Float, ...]:
        """Those of ``colour``, (height, width) each."""
        return split(self.colour)

    @cached_property
    def slopes(self) -> tuple[tuple[Float, Float], ...]:
        """d/dx and d/dy of each channel (Sobel), 1/255 per px."""
        return tuple(slopes(channel) for channel in self.channels)

    @cached_property
    def gradient(self) -> Float:
        """Largest channel's gradient, 1/255 per px."""
        return np.sqrt(largest(x * x + y * y for x, y in self.slopes))

    def share_of_side(self, divisor: float, least: int = 3) -> int:
        """An odd window of ``side / divisor`` px."""
        return max(least, int(self.side / divisor)) | 1

    def box(self, where: Mask, kind: str, value: float) -> tuple[EdgeBox, ...]:
        """The rectangle around ``where`` in px of the source; nothing where it is empty."""
        left, top, width, height = cv2.boundingRect(where.view(np.uint8))
        if not width:
            return ()
        x, y, across, down = (round(edge * self.scale) for edge in (left, top, width, height))
        return (EdgeBox(x, y, across, down, kind, float(value)),)


def view_of(source: Image, cutout: Image) -> MatteView:
    """Both, of one size, as an sRGB screen shows them, reduced by area; the cutout has alpha."""
    scale = max(1.0, max(source.height, source.width) / LONG_SIDE_PX)
    size = max(1, round(source.width / scale)), max(1, round(source.height / scale))
    colour, own, alpha = shown_rgb(source, size)[:], reduce_alpha(source, size), reduce_alpha(cutout, size)
    own_alpha = None if own is None else np.asarray(own[:], np.float32)
    if own_alpha is not None:
        colour = np.dstack([colour, own_alpha * np.float32(255)])
    matte = np.ones(colour.shape[:2], np.float32) if alpha is None else np.asarray(alpha[:], np.float32)
    return MatteView(np.ascontiguousarray(colour, np.float32), own_alpha, matte, scale)


def slopes(plane: Float) -> tuple[Float, Float]:
    """d/dx and d/dy per px, of the shape of ``plane``."""
    x, y = (
        cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        for dx in (1, 0)
    )
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def split(planes: Float) -> tuple[Float, ...]:
    """The channels of (height, width, channels), which are worked on faster than side by side."""
    return tuple(np.asarray(plane, np.float32) for plane in cv2.split(planes))


def largest(planes: Iterable[Float]) -> Float:
    """Largest value of (height, width) each at each pixel; they may be overwritten."""
    return reduce(lambda one, other: np.maximum(one, other, out=one), planes)


def mean_around(plane: Float | Mask, window: int) -> Float:
    values = np.asarray(plane, np.float32)
    return np.asarray(cv2.blur(values, (window, window), borderType=cv2.BORDER_REPLICATE), np.float32)


def grown(plane: Float, radius: int) -> Float:
    """Largest value within a square of ``radius`` px."""
    return np.asarray(cv2.dilate(plane, _square(radius)), np.float32)


def shrunk(plane: Float, radius: int) -> Float:
    """Lowest value within a square of ``radius`` px."""
    return np.asarray(cv2.erode(plane, _square(radius)), np.float32)


def _square(radius: int) -> npt.NDArray[np.uint8]:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
