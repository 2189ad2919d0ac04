"""Little CMS, relative colorimetric with black point compensation: RGB and grey in floating point as
imagecodecs binds it, CMYK in 8 bits as Pillow does.

It parses profiles in C, so it is called where files are decoded, and by :mod:`imgpipe.images.icc_tables`.
"""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from imgpipe.errors import ProfileUnusable
from imgpipe.images.metadata import icc_space
from imgpipe.images.srgb import Floats, srgb_linear, srgb_profile

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def linear_srgb(icc: bytes, values: Floats) -> Floats:
    """Values 0..1 (..., 1 or 3) of a profile for grey or RGB as linear light of sRGB's primaries, the same
    shape, float32; beyond 0..1 outside of sRGB. Raises :class:`ProfileUnusable`."""
    grey = values.shape[-1] == 1
    try:
        found = imagecodecs.cms_transform(
            np.ascontiguousarray(values.reshape(1, -1) if grey else values.reshape(1, -1, 3), np.float32),
            icc,
            srgb_profile(),
            colorspace="gray" if grey else "rgb",
            outcolorspace="rgb",
            outdtype="float32",  # its 16-bit transforms go through a table of 33 levels, which loses shadows
            intent=int(_INTENT),
            flags=int(_FLAGS),
        )
    except (imagecodecs.CmsError, ValueError) as exc:
        raise ProfileUnusable(f"Little CMS cannot use it: {exc}") from exc
    shown = np.asarray(found[..., 1] if grey else found, np.float32).reshape(values.shape)
    if not np.isfinite(shown).all():
        raise ProfileUnusable("it gives numbers that are not finite")
    # Below 0 Little CMS continues sRGB's straight part.
    return np.where(shown < 0, shown * np.float32(1 / 12.92), srgb_linear(shown))


def cmyk_to_rgb(cmyk: npt.NDArray[np.uint8], icc: bytes | None) -> tuple[npt.NDArray[np.uint8], str]:
    """(height, width, 4) CMYK, 255 = full ink, as (height, width, 3) sRGB, and a note on how it was done.

    Through the picture's own profile; without a usable one by (1 - ink)(1 - black).
    """
    if icc_space(icc) == "CMYK":
        try:
            converted = ImageCms.profileToProfile(
                PIL.Image.fromarray(cmyk, "CMYK"),
                ImageCms.ImageCmsProfile(io.BytesIO(icc or b"")),
                ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
                renderingIntent=_INTENT,
                outputMode="RGB",
                flags=_FLAGS,
            )
            return np.array(converted), "CMYK converted to sRGB through its profile"
        except (OSError, ImageCms.PyCMSError):
            pass  # the note below says that it was of no use
    light = 255 - cmyk.astype(np.uint32)
    rgb = (light[..., :3] * light[..., 3:] + 127) // 255
    return rgb.astype(np.uint8), "CMYK without a usable profile: converted by formula, colours approximate"
