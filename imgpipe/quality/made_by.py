"""Which profile judges two files that no row is about: by what made the result, or by a guess at it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import cv2
import numpy as np

from imgpipe.images.colour import luma
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import upscaler_of
from imgpipe.pixels.round_trip import Float, rgb_over
from imgpipe.quality.profiles import choose_profile, why_profile
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

WHITE = (255, 255, 255)
#: Edges of networks are this many times as steep as bicubic's. Of 39 crops by each at 2x and 4x, Lanczos and
#: bicubic reach 1.03; 9 in 10 of networks' exceed 1.28.
STEEP = 1.2
#: Share of pixels that count, those with the steepest edges; added to both gradients, 1/255 per px.
_STEEPEST, _FLOOR = 0.02, 0.25
#: The middle of the source that is looked at, px a side.
_SEEN_PX = 512


def profile_of_files(
    source: Image, result: Image, settings: QualitySettings, model: str = ""
) -> tuple[str, str]:
    """(profile, why): the configured one; else that of ``model``, or of the upscaler that the result's XMP
    names; else a guess by :func:`edge_steepness`."""
    name = model or upscaler_of(result.xmp)
    if name or settings.profile != "auto":
        maker = ModelUse(name, "named") if name else None
        known_from = "what was given" if model else "its XMP"
        return choose_profile(settings, maker), why_profile(settings, maker, known_from)
    steepness = edge_steepness(source, result)
    if steepness > STEEP:
        return (
            "realesrgan",
            f"guessed: edges {steepness:.1f} times as steep as bicubic's, as networks draw them",
        )
    return "classical", "guessed: nothing names its maker, no edges as steep as networks draw them"


def edge_steepness(source: Image, result: Image) -> float:
    """Gradients of ``result``'s luma over those of ``source`` enlarged by bicubic: the median over the 2% of
    pixels where the latter is steepest, each the largest within a source pixel. 1 where it is not larger."""
    factor = result.width / source.width
    if factor <= 1 or result.height < source.height:
        return 1.0
    before, after = _middle(source, 1.0, source), _middle(result, factor, source)
    size = after.shape[1], after.shape[0]
    reach = np.ones((2 * round(factor) + 1,) * 2, np.uint8)
    enlarged = _gradient(np.asarray(cv2.resize(before, size, interpolation=cv2.INTER_CUBIC), np.float32))
    steepest = enlarged >= np.quantile(enlarged, 1 - _STEEPEST)
    had, has = (cv2.dilate(plane, reach)[steepest] + _FLOOR for plane in (enlarged, _gradient(after)))
    return float(np.median(has / had))


def _middle(image: Image, factor: float, source: Image) -> Float:
    """Luma of the part of ``image``, ``factor`` times as large as ``source``, that is looked at."""
    rows, columns = (
        slice(
            round(factor * max(0, (side - _SEEN_PX) // 2)), round(factor * min(side, (side + _SEEN_PX) // 2))
        )
        for side in (source.height, source.width)
    )
    part = cast(Pixels, np.ascontiguousarray(image.pixels[rows, columns]))
    return luma(rgb_over(replace(image, pixels=part), WHITE))


def _gradient(plane: Float) -> Float:
    gx, gy = (cv2.Sobel(plane, cv2.CV_32F, *axis, ksize=3, scale=0.125) for axis in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(gx, gy), np.float32)
