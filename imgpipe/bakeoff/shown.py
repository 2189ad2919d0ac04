"""What the page shows: each picture whole, and the part where the candidates differ most, at full size."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import EncodeError
from imgpipe.images.colour import to_8_bit, to_srgb
from imgpipe.images.image import Image
from imgpipe.report.thumbnails import fit_size, premultiplied

Bytes8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

#: Longest side of a whole picture and side of a part, px.
WHOLE_PX, PART_PX = 720, 360
_QUALITY, _PART_QUALITY = 84, 92
#: Differences are sought in pictures of this longest side, px, over windows of an eighth of it.
_SEARCH_PX = 384


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, as shares of its sides."""

    left: float
    top: float
    width: float
    height: float


def whole(image: Image) -> str:
    """The picture inside 720 px as a ``data:`` address: WebP, sRGB, with its alpha."""
    return _address(_reduced(image, WHOLE_PX), _QUALITY)


def part(image: Image, box: Box) -> str:
    """The part of the picture pixel by pixel, as :func:`whole`."""
    left, top = int(box.left * image.width), int(box.top * image.height)
    width, height = max(1, round(box.width * image.width)), max(1, round(box.height * image.height))
    cut = replace(image, pixels=image.pixels[top : top + height, left : left + width])
    return _address(_reduced(cut, max(width, height)), _PART_QUALITY)


def small(image: Image, size: tuple[int, int] | None = None) -> Float:
    """Premultiplied colours and alpha, float32 (height, width, 4) on 0..255, for :func:`most_different`.

    ``size``: (width, height) of the first picture's, so that all are alike.
    """
    colour, alpha = premultiplied(to_srgb(image))
    size = size or fit_size(image.width, image.height, _SEARCH_PX)
    planes = [*cv2.split(colour), np.full(colour.shape[:2], 255, np.uint8) if alpha is None else alpha]
    return np.asarray(cv2.resize(cv2.merge(planes), size, interpolation=cv2.INTER_AREA), np.float32)


def most_different(seen: Sequence[Float], width: int, height: int) -> Box:
    """Where pictures of one size differ most, 360 px of ``width`` and ``height`` (px) on each side."""
    shares = (min(1.0, PART_PX / width), min(1.0, PART_PX / height))
    spread = (np.max(seen, axis=0) - np.min(seen, axis=0)).sum(axis=2)
    rows, columns = spread.shape
    window = (max(1, round(shares[0] * columns)), max(1, round(shares[1] * rows)))
    summed = cv2.boxFilter(spread, cv2.CV_32F, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(np.argmax(summed)), summed.shape)
    left, top = (
        float(np.clip((place + 0.5) / side - share / 2, 0, 1 - share))
        for place, side, share in ((x, columns, shares[0]), (y, rows, shares[1]))
    )
    return Box(left, top, *shares)


def _reduced(image: Image, longest: int) -> Bytes8:
    """8-bit sRGB (height, width, 3 or 4), straight alpha, averaged by area inside ``longest`` px."""
    size = fit_size(image.width, image.height, longest)
    image = to_srgb(image)
    if size == (image.width, image.height) and image.channels == 4:
        return to_8_bit(image.pixels)
    colour, alpha = premultiplied(image)
    shown = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.uint8)
    if alpha is None:
        return shown
    cover = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
    straight = shown.astype(np.float32) * 255 / np.maximum(cover, 1)[..., None]
    return np.dstack([np.clip(np.rint(straight), 0, 255).astype(np.uint8), cover])


def _address(pixels: Bytes8, quality: int) -> str:
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, data = cv2.imencode(
        ".webp", np.ascontiguousarray(pixels[..., order]), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    if not done:
        raise EncodeError(f"picture of {pixels.shape[1]}x{pixels.shape[0]} px: OpenCV could not write WebP")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")
