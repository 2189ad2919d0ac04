"""The image type that stages exchange."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class JpegCoding:
    """How a JPEG's pixels were quantised, its blocks beginning at the picture's upper left corner.

    ``luma``, ``chroma``: 64 steps, by rows of the 8x8 block; ``chroma`` is empty for grey. ``sampling``: px
    of luma to a pixel of chroma, down and across.
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...] = ()
    sampling: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Decoded pixels with the file's metadata.

    ``pixels``: (height, width, channels), C-contiguous, uint8 or uint16 (full range 0..255 / 0..65535),
    channels 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha. Colour order is RGB, alpha is straight
    (not premultiplied). Orientation is already applied.
    ``icc``, ``exif``, ``xmp``: the raw profile and metadata blocks, ``None`` where the file had none.
    ``dpi``: px per inch horizontally and vertically, as JFIF or PNG's pHYs say it; EXIF's stays in its block.
    ``source_format``: upper-case name as in ``PNG``, ``JPEG``; empty for images made in memory.
    ``notes``: what decoding left out or chose ("animated: first of 12 frames kept"), for the row.
    ``jpeg``: how the file quantised these very pixels, where it is an upright JPEG of YCbCr or grey.
    """

    pixels: Pixels
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    source_format: str = ""
    notes: tuple[str, ...] = field(default=())
    dpi: tuple[float, float] | None = None
    jpeg: JpegCoding | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or not 1 <= shape[2] <= 4 or min(shape) < 1:
            raise ValueError(f"expected pixels of shape (height, width, 1..4), got {shape}")
        if dtype not in (np.uint8, np.uint16):
            raise ValueError(f"expected uint8 or uint16 pixels, got {dtype}")

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def bit_depth(self) -> int:
        """8 or 16 bits per channel."""
        return int(self.pixels.dtype.itemsize) * 8

    @property
    def has_alpha(self) -> bool:
        return self.channels in (2, 4)

    @property
    def max_value(self) -> int:
        """255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

    @property
    def alpha(self) -> Pixels | None:
        """(height, width) in the image's own dtype, or ``None``."""
        return self.pixels[..., -1] if self.has_alpha else None

    @property
    def colour(self) -> Pixels:
        """The channels without alpha: (height, width, 1 or 3)."""
        return self.pixels[..., :-1] if self.has_alpha else self.pixels
