"""The rules for the format and the quality that a picture is saved in.

| picture          | PNG      | WEBP                      | JPEG                      |
|------------------|----------|---------------------------|---------------------------|
| 8-bit, opaque    | lossless | quality >= 90             | quality >= 90, 4:4:4      |
| 8-bit with alpha | lossless | lossless                  | never                     |
| 16-bit           | lossless | only where PNG is not in the priority: 8 bits, recorded |

JXL, where its plugin is installed, is lossless like PNG, but has 8 bits and no profile other than sRGB.

Every format carries ICC, EXIF and XMP. What a format's encoder refuses (a WebP wider than 16383 px, a
profile for grey in a WebP, EXIF of more than 64 KB in a JPEG) passes that format over for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgpipe.images.colour import to_8_bit
from imgpipe.images.encode import Effort, encode
from imgpipe.images.image import Image

#: Lossy formats are never written below this.
LOWEST_QUALITY = 90

#: Formats that can be smaller than lossless ones.
LOSSY = ("WEBP", "JPEG")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A format and its options. ``quality`` 90..100, ``None`` = lossless; ``effort`` (lossless only)
    trades time for bytes."""

    format: str
    quality: int | None = None
    effort: Effort = "fast"

    @property
    def lossless(self) -> bool:
        return self.quality is None


def encoding_for(image: Image, format: str, quality: int) -> Encoding:  # noqa: A002 -- the domain's name
    """How ``format`` holds ``image`` by the rules; whether it can is the encoder's to say."""
    if format in ("PNG", "JXL") or (format == "WEBP" and image.has_alpha):
        return Encoding(format)
    return Encoding(format, quality)


def write(image: Image, encoding: Encoding) -> bytes:
    """The file; colour under alpha 0 is written as 0. Raises :class:`EncodeError` where the format cannot
    hold the picture."""
    if encoding.quality is None:
        return encode(image, format=encoding.format, effort=encoding.effort)
    return encode(image, format=encoding.format, quality=encoding.quality)


def fit_bit_depth(image: Image, priority: Sequence[str]) -> tuple[Image, tuple[str, ...]]:
    """``image`` as it can be saved, and what that cost: 8 bits instead of 16 only where every format of the
    priority has no more, each value rounded to nearest (v / 257)."""
    if image.bit_depth == 8 or "PNG" in priority:
        return image, ()
    reason = (
        f"16 bits per channel reduced to 8: enhance.save_format_priority=[{', '.join(priority)}] has no "
        "format for more; add PNG to keep them"
    )
    return replace(image, pixels=to_8_bit(image.pixels)), (reason,)
