"""A picture as a network's input, and the network's answer as an alpha."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe.matting.letterbox import Placement
from imgpipe.matting.matte import Alpha
from imgpipe.matting.models import InputSpec
from imgpipe.pixels.strips import spans

Tensor = npt.NDArray[np.float32]

#: What rembg divides by where a picture is black.
_REMBG_DARKEST = 1e-6
_STRIP_ROWS = 32


def author_input(image: Image, spec: InputSpec, size: int) -> tuple[Tensor, Placement]:
    """(3, size, size) float32 as the network's authors feed it, and where the picture lies in it.

    Grey is repeated, the source's alpha is composited over white (as deepghs/imgutils does), all 16 bits
    are used.
    """
    place = Placement.letterbox if spec.fit == "letterbox" else Placement.squash
    placement = place(image.height, image.width, size)
    square = placement.put(over_white(image))
    divisor = max(float(square.max()), _REMBG_DARKEST) if spec.divisor == "maximum" else 1.0
    return normalise(square, divisor, spec), placement


def over_white(image: Image) -> Tensor:
    """(height, width, 3) float32 0..1, composited over white."""
    full_scale = np.float32(image.max_value)
    shown = np.empty((image.height, image.width, 3), np.float32)
    for rows in spans(0, image.height, _STRIP_ROWS):
        colour = image.colour[rows].astype(np.float32) / full_scale
        if image.alpha is not None:
            alpha = (image.alpha[rows].astype(np.float32) / full_scale)[..., None]
            colour = colour * alpha + (1.0 - alpha)
        shown[rows] = colour
    return shown


def normalise(square: npt.NDArray[np.floating], divisor: float, spec: InputSpec) -> Tensor:
    """(size, size, 3) -> (3, size, size) float32: ``(value / divisor - mean) / std`` per channel."""
    values = (square / divisor - np.array(spec.mean, square.dtype)) / np.array(spec.std, square.dtype)
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def rembg_input(image: Image, spec: InputSpec, size: int) -> Tensor:
    """(3, size, size) float32 exactly as rembg feeds it: 8 bits, alpha dropped, Pillow's Lanczos."""
    from PIL import Image as PillowImage

    eight_bit = image.bit_depth == 8
    levels = np.asarray(image.colour if eight_bit else np.rint(image.colour / 257.0), np.uint8)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    picture = PillowImage.fromarray(np.ascontiguousarray(levels))
    square = np.asarray(picture.resize((size, size), PillowImage.Resampling.LANCZOS)).astype(np.float64)
    return normalise(square, max(float(square.max()), _REMBG_DARKEST), spec)


def rembg_alpha(answer: Tensor, height: int, width: int, *, clip: bool) -> Alpha | None:
    """rembg's mask in 0..1 from the raw (size, size) answer: stretched to its own minimum and maximum, cut to
    8 bits, enlarged by Pillow's Lanczos. ``None`` for a constant answer, whose stretch is undefined."""
    from PIL import Image as PillowImage

    low, high = np.min(answer), np.max(answer)
    if not high > low:
        return None
    stretched = (answer - low) / (high - low)
    if clip:
        stretched = stretched.clip(0, 1)
    mask = PillowImage.fromarray((stretched * 255).astype(np.uint8))
    resized = mask.resize((width, height), PillowImage.Resampling.LANCZOS)
    return np.asarray(resized, np.float32) / np.float32(255)
