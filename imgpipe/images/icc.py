"""ICC profiles through Little CMS, relative colorimetric with black point compensation: RGB and grey in
floating point as imagecodecs binds it, CMYK in 8 bits as Pillow does."""

from __future__ import annotations

import functools
import io

import imagecodecs
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from imgpipe.images.metadata import icc_space
from imgpipe.images.srgb import Floats, srgb_encoded, srgb_linear

#: A profile is sRGB where it shows no colour farther than this from what sRGB shows, 1/255 per channel.
#: Files called sRGB differ by up to 1.4 (Argyll's), the nearest other space (ITU-R BT.709) by 16.
SRGB_TOLERANCE_255 = 2.0

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_GREYS = 257


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB (IEC 61966-2-1) matrix profile, the same bytes on every day: its creation date is fixed."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    fixed_date = np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes()
    return made[:24] + fixed_date + made[36:]


@functools.lru_cache(maxsize=16)
def is_srgb(icc: bytes | None) -> bool:
    """Whether a profile for RGB or grey shows sRGB's colours (:data:`SRGB_TOLERANCE_255`), whatever its name.

    No profile and one that Little CMS cannot use mean sRGB, as in every viewer.
    """
    if icc is None or icc == srgb_profile():
        return True
    channels = {"GRAY": 1, "RGB": 3}.get(icc_space(icc))
    if channels is None:
        return False
    values = probes(channels)
    try:
        return differ_255(linear_srgb(icc, values), srgb_linear(values)) <= SRGB_TOLERANCE_255
    except ValueError:
        return True


def linear_srgb(icc: bytes, values: Floats) -> Floats:
    """Values 0..1 (..., 1 or 3) of a profile for grey or RGB as linear light of sRGB's primaries, the same
    shape, float32; beyond 0..1 outside of sRGB. Raises :class:`ValueError` where the profile is of no use."""
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
        raise ValueError(f"Little CMS cannot use it: {exc}") from exc
    shown = np.asarray(found[..., 1] if grey else found, np.float32).reshape(values.shape)
    if not np.isfinite(shown).all():
        raise ValueError("it gives numbers that are not finite")
    # Below 0 Little CMS continues sRGB's straight part.
    return np.where(shown < 0, shown * np.float32(1 / 12.92), srgb_linear(shown))


def probes(channels: int) -> Floats:
    """(n, channels) values 0..1 to try a profile with: a grid of colours and the greys."""
    axis = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[axis] * channels, indexing="ij"), axis=-1).reshape(-1, channels)
    greys = np.linspace(0.0, 1.0, _GREYS, dtype=np.float32)[:, None]
    return np.concatenate([grid, np.repeat(greys, channels, axis=1)])


def differ_255(one: Floats, other: Floats) -> float:
    """Largest difference of linear light as an sRGB screen shows it, 1/255."""
    shown = [srgb_encoded(np.clip(light, 0.0, 1.0)) for light in (one, other)]
    return float(np.abs(shown[0] - shown[1]).max() * 255)


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
