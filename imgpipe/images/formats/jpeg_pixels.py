"""JPEG pixels; libjpeg's warnings of damage are errors.

libjpeg continues after damage, fills the rest with grey and only warns. Here a warning is either known to be
harmless, and then noted, or the file is refused.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import simplejpeg

from imgpipe.images.container import damaged

#: Warnings of libjpeg-turbo (jerror.h) that say nothing about the picture: bytes left over after its end,
#: and headers of unusual versions.
_HARMLESS = (
    "extraneous bytes before marker 0xd9",
    "Unknown Adobe color transform code",
    "unknown JFIF revision number",
    "Invalid SOS parameters for sequential JPEG",
)


def decode_jpeg(data: bytes, name: str) -> tuple[npt.NDArray[np.uint8], str, tuple[str, ...]]:
    """(height, width, 1, 3 or 4) uint8, ``GRAY``, ``RGB`` or ``CMYK``, and notes.

    CMYK is 255 for full ink: files hold it inverted, as Adobe's programs write it. Raises
    :class:`DecodeError` where libjpeg warns of damage; the decoder's ValueError and RuntimeError pass.
    """
    stored = simplejpeg.decode_jpeg_header(data)[2]
    space: Literal["GRAY", "RGB", "CMYK"] = (
        "GRAY" if stored == "Gray" else "CMYK" if stored in ("CMYK", "YCCK") else "RGB"
    )
    notes: tuple[str, ...] = ()
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace=space)
    except ValueError as exc:
        warning = str(exc)
        if not any(known in warning for known in _HARMLESS):
            raise damaged(name, f"the JPEG's compressed data is damaged ({warning})") from exc
        pixels = simplejpeg.decode_jpeg(data, colorspace=space, strict=False)
        notes = (f"harmless oddity in the JPEG: {warning}",)
    return (~pixels if space == "CMYK" else pixels), space, notes
