"""Enlarges a picture proportionally to a minimum size, before segmentation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from imgpipe.errors import ImageError, LimitExceeded, OutOfMemory
from imgpipe.images.encode import MAX_SIDES
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel, resize
from imgpipe.settings import EnhanceSettings, LimitSettings

#: A picture at (width, height) px.
Enlarge = Callable[[Image, int, int], Image]

#: Drawings take 0.1 to 0.3 bytes a pixel as PNG; what takes less than 1/20 is flat, and stays so.
_PIXELS_PER_BYTE = 20


@dataclass(frozen=True, slots=True, eq=False)
class Enhanced:
    """``image``: the source's channels, bit depth, profile and metadata at the new size. ``factor``: new
    size / old size, 1.0 where the picture is the source itself. ``reasons``: what made the factor so large,
    in words; empty where it is ``scale_factor``. ``base``: what ``image`` was resized from, the source or a
    network's picture of it."""

    image: Image
    factor: float
    base: Image
    reasons: tuple[str, ...] = ()


def plan_size(width: int, height: int, settings: EnhanceSettings) -> tuple[int, int]:
    """(width, height) in px that a picture of ``width`` x ``height`` px is brought to.

    Both sides times one factor, the largest of ``scale_factor``, ``min_width / width`` and
    ``min_height / height``, rounded half up; computed in fractions, so that a minimum is never missed by a
    rounding error. Raises :class:`ImageError` for sides below 1 px.
    """
    factor = _factor(width, height, settings)
    return _times(width, factor), _times(height, factor)


def largest_size(
    width: int, height: int, settings: EnhanceSettings, limits: LimitSettings
) -> tuple[int, int]:
    """(width, height) in px of the largest picture that may be made for ``min_bytes`` where one of ``width``
    x ``height`` px is planned; the same without ``min_bytes``."""
    wanted = min(_PIXELS_PER_BYTE * (settings.min_bytes or 0), limits.max_output_pixels)
    factor = max(1.0, math.sqrt(wanted / (width * height)))
    return int(width * factor), int(height * factor)


def enhance(
    image: Image, settings: EnhanceSettings, limits: LimitSettings, network: Enlarge | None = None
) -> Enhanced:
    """``image`` at the planned size, premultiplied and in float32; 16 bits stay 16.

    It is resized by ``settings.kernel``: from the source, or from what ``network`` makes of it at the
    largest size. A picture that is large enough already, with ``scale_factor`` 1.0, is returned as it is, bit
    for bit. Raises :class:`LimitExceeded` before anything is computed, and :class:`OutOfMemory`.
    """
    factor = _factor(image.width, image.height, settings)
    width, height = plan_size(image.width, image.height, settings)
    if width * height > limits.max_output_pixels:
        raise LimitExceeded(
            f"{image.width}x{image.height} px enlarged {float(factor):.6g} times (enhance.scale_factor="
            f"{settings.scale_factor:g}, min_width={settings.min_width}, min_height={settings.min_height}) "
            f"would be {width}x{height} = {width * height:,} px, expected at most limits.max_output_pixels="
            f"{limits.max_output_pixels:,}; lower these settings or raise the limit"
        )
    _check_formats(width, height, settings)
    reasons = _reasons(image.width, image.height, factor, settings)
    base = image
    if network is not None and (width, height) != (image.width, image.height):
        base = network(image, *largest_size(width, height, settings, limits))
    return Enhanced(resample(base, width, height, settings.kernel), float(factor), base, reasons)


def _check_formats(width: int, height: int, settings: EnhanceSettings) -> None:
    """Raise :class:`LimitExceeded` where no format of the priority holds the sides, and none may shrink."""
    priority, longest = settings.save_format_priority, max(width, height)
    most = max(MAX_SIDES.get(name, longest) for name in priority)
    if settings.max_bytes is None and longest > most:
        raise LimitExceeded(
            f"the enlarged picture would be {width}x{height} px, expected at most {most} px a side, which is "
            f"all that enhance.save_format_priority=[{', '.join(priority)}] holds; add PNG to it or enlarge "
            "less"
        )


def resample(image: Image, width: int, height: int, kernel: Kernel) -> Image:
    """``image`` at ``width`` x ``height`` px, by :func:`imgpipe.pixels.resize.resize`.

    Raises :class:`ImageError` for sizes below 1 px and :class:`OutOfMemory`, which names the settings of
    enhancement.
    """
    try:
        return resize(image, width, height, kernel)
    except MemoryError as exc:
        raise OutOfMemory(
            f"{image.width}x{image.height} px resized to {width}x{height} px do not fit into the host's "
            "memory; run fewer workers, or lower enhance.scale_factor, min_width and min_height"
        ) from exc


def _factor(width: int, height: int, settings: EnhanceSettings) -> Fraction:
    if width < 1 or height < 1:
        raise ImageError(f"enhance: expected a picture of at least 1x1 px, got {width}x{height}")
    return max(
        Fraction(str(settings.scale_factor)),  # 1.1 as it is written, not the binary number beside it
        Fraction(settings.min_width, width),
        Fraction(settings.min_height, height),
    )


def _times(side: int, factor: Fraction) -> int:
    return int(side * factor + Fraction(1, 2))


def _reasons(width: int, height: int, factor: Fraction, settings: EnhanceSettings) -> tuple[str, ...]:
    if factor == Fraction(str(settings.scale_factor)):
        return ()
    sides = (("width", width, settings.min_width), ("height", height, settings.min_height))
    return tuple(
        f"enlarged {float(factor):.4g} times, not {settings.scale_factor:g}: the {name} of {side} px "
        f"reaches enhance.min_{name}={least} px only so"
        for name, side, least in sides
        if Fraction(least, side) == factor
    )
