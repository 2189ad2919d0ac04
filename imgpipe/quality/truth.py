"""A result against the picture that it should be: the scores of :data:`imgpipe.metrics.truth.TRUTH`."""

from __future__ import annotations

import numpy as np

from imgpipe.errors import ConfigError
from imgpipe.images.colour import luma, to_srgb
from imgpipe.images.image import Image
from imgpipe.pixels.round_trip import Float, rgb_over
from imgpipe.quality.mask_scores import mask_scores
from imgpipe.quality.matte_error import matte_errors
from imgpipe.quality.psnr import psnr
from imgpipe.quality.ssim import fits_window, ssim

_BLACK = (0, 0, 0)


def matte_truth(truth_alpha: Float, result_alpha: Float) -> dict[str, float | None]:
    """Name -> value of every metric of a matte; both float32 (height, width) in 0..1.

    ``None`` where there is nothing to measure. Raises :class:`ConfigError` as
    :func:`imgpipe.quality.matte_error.matte_errors`.
    """
    return mask_scores(truth_alpha, result_alpha) | matte_errors(truth_alpha, result_alpha).as_dict()


def enlargement_truth(truth: Image, result: Image) -> dict[str, float | None]:
    """Name -> value of every metric of an enlargement; both in sRGB over black, every pixel counts.

    PSNR is infinite where all pixels are equal, SSIM ``None`` below 11x11 px. Raises :class:`ConfigError`
    for pictures of two sizes.
    """
    sizes = [(image.width, image.height) for image in (truth, result)]
    if sizes[0] != sizes[1]:
        (width, height), (own_width, own_height) = sizes
        raise ConfigError(
            f"expected a truth of the result's size, {own_width}x{own_height} px, got {width}x{height} px; "
            "set upscale.target_size, or give the picture that the source was reduced from"
        )
    rgb = [rgb_over(to_srgb(image), _BLACK) for image in (truth, result)]
    fits = fits_window(rgb[0].shape)
    found: dict[str, float | None] = {}
    for suffix, (one, other) in (("", rgb), ("_y", [luma(plane) for plane in rgb])):
        decibel = psnr(one, other)
        found[f"psnr{suffix}"] = float("inf") if decibel is None else decibel
        found[f"ssim{suffix}"] = ssim(one, other) if fits else None
    return found


def alpha_of(image: Image, name: str) -> Float:
    """A picture's alpha, or its grey values where it has none, float32 (height, width) in 0..1.

    Raises :class:`ConfigError` for an opaque picture in colour; ``name`` is what the message calls it.
    """
    if image.alpha is None and (image.pixels != image.pixels[..., :1]).any():
        raise ConfigError(f"{name}: expected a picture with alpha or a grey mask, got opaque RGB")
    plane = image.pixels[..., 0] if image.alpha is None else image.alpha
    return np.asarray(plane.astype(np.float64) / image.max_value, np.float32)
