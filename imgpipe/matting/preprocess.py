"""A picture as a network's input, and the network's answer as an alpha."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe.matting.letterbox import Placement, Size
from imgpipe.matting.matte import Alpha
from imgpipe.pixels.strips import spans
from imgpipe.settings.contracts import Contract, Triple, rembg_statistics

Tensor = npt.NDArray[np.float32]

#: What rembg divides by where a picture is black.
_DARKEST = 1e-6
_STRIP_ROWS = 32


def author_input(image: Image, contract: Contract, frame: Size | None) -> tuple[Tensor, Placement]:
    """(3, *frame) float32 as the network's authors feed it, and where the picture lies in it.

    ``frame``: (height, width) px; ``None``: it follows from the picture (``fit: multiple``). Grey is
    repeated, the source's alpha is composited over white (as deepghs/imgutils does), all 16 bits are used.
    """
    if frame is None:
        shorter = min(contract.size_px or (0, 0))
        placement = Placement.multiples(image.height, image.width, shorter, contract.multiple)
    else:
        place = Placement.letterbox if contract.fit == "letterbox" else Placement.squash
        placement = place(image.height, image.width, frame)
    square = placement.put(over_white(image))
    divisor = max(float(square.max()), _DARKEST) if contract.scale == "maximum" else 1.0
    fed = normalise(square, divisor, contract.mean, contract.std)
    return np.ascontiguousarray(fed[::-1]) if contract.order == "BGR" else fed, placement


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


def normalise(square: npt.NDArray[np.floating], divisor: float, mean: Triple, std: Triple) -> Tensor:
    """(rows, columns, 3) -> (3, rows, columns) float32: ``(value / divisor - mean) / std`` per channel."""
    number = square.dtype.type
    fed = np.empty((3, *square.shape[:2]), np.float32)
    for channel in range(3):
        fed[channel] = (square[..., channel] / divisor - number(mean[channel])) / number(std[channel])
    return fed


def rembg_input(image: Image, contract: Contract, frame: Size | None) -> Tensor:
    """(3, *frame) float32 exactly as rembg feeds it: 8 bits, alpha dropped, Pillow's Lanczos.

    Raises :class:`ConfigError` for a contract that rembg has no session of.
    """
    from PIL import Image as PillowImage

    mean, std = rembg_statistics(contract)
    height, width = frame or (0, 0)  # Known: of networks without a frame rembg has no session.
    eight_bit = image.bit_depth == 8
    levels = np.asarray(image.colour if eight_bit else np.rint(image.colour / 257.0), np.uint8)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    picture = PillowImage.fromarray(np.ascontiguousarray(levels))
    square = np.asarray(picture.resize((width, height), PillowImage.Resampling.LANCZOS)).astype(np.float64)
    return normalise(square, max(float(square.max()), _DARKEST), mean, std)


def rembg_alpha(answer: Tensor, height: int, width: int) -> Alpha | None:
    """rembg's mask in 0..1 from (rows, columns) probabilities: stretched to their own minimum and maximum,
    cut to 8 bits, enlarged by Pillow's Lanczos. ``None`` for a constant answer: its stretch is undefined."""
    from PIL import Image as PillowImage

    low, high = np.min(answer), np.max(answer)
    if not high > low:
        return None
    stretched = (answer - low) / (high - low)
    mask = PillowImage.fromarray((stretched * 255).astype(np.uint8))
    resized = mask.resize((width, height), PillowImage.Resampling.LANCZOS)
    return np.asarray(resized, np.float32) / np.float32(255)
