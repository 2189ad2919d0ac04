"""Colour conversion through ICC profiles, with Little CMS as Pillow binds it (8 bits per channel)."""

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from imgpipe.images.metadata import icc_space

_MODE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB (IEC 61966-2-1) matrix profile, the same bytes on every day: its creation date is fixed."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    fixed_date = np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes()
    return made[:24] + fixed_date + made[36:]


def is_srgb(icc: bytes | None) -> bool:
    """Whether a picture with this profile already is sRGB; no profile means sRGB."""
    if icc is None or icc == srgb_profile():
        return True
    if icc_space(icc) != "RGB":
        return False
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        description = ImageCms.getProfileDescription(profile)
    except (OSError, ImageCms.PyCMSError):
        return True  # unreadable: treated as if it were absent, as every viewer does
    return description.strip().lower().startswith("srgb")


def to_srgb(image: PIL.Image.Image, icc: bytes | None) -> PIL.Image.Image | None:
    """An ``L``, ``RGB`` or ``CMYK`` picture as sRGB ``RGB``, relative colorimetric with black point
    compensation; ``None`` where the profile is absent, unreadable or for another kind of picture."""
    if icc is None or icc_space(icc) != _MODE_SPACES.get(image.mode):
        return None
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
            renderingIntent=_INTENT,
            outputMode="RGB",
            flags=_FLAGS,
        )
    except (OSError, ImageCms.PyCMSError):
        return None


def cmyk_to_rgb(cmyk: npt.NDArray[np.uint8], icc: bytes | None) -> tuple[npt.NDArray[np.uint8], str]:
    """(height, width, 4) CMYK, 255 = full ink, as (height, width, 3) sRGB, and a note on how it was done.

    Through the picture's own profile; without a usable one by (1 - ink)(1 - black).
    """
    converted = to_srgb(PIL.Image.fromarray(cmyk, "CMYK"), icc)
    if converted is not None:
        return np.array(converted), "CMYK converted to sRGB through its profile"
    light = 255 - cmyk.astype(np.uint32)
    rgb = (light[..., :3] * light[..., 3:] + 127) // 255
    return rgb.astype(np.uint8), "CMYK without a usable profile: converted by formula, colours approximate"
