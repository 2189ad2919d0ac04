"""Both pictures as an sRGB screen shows them, and whether a profile was lost between them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from imgpipe.images.colour import fitted, profile_fault
from imgpipe.images.icc import name_of
from imgpipe.images.image import Image
from imgpipe.images.rgb_space import space_of
from imgpipe.pixels.round_trip import STRIP_ROWS, Reduced, shown_rgb
from imgpipe.pixels.row_bands import RowBands, Rows
from imgpipe.quality.findings import Findings
from imgpipe.quality.psnr import mean_squared_error

#: What a change of profile must do to a picture to be seen, root mean square, 1/255.
_VISIBLE_255 = 0.5


def profile_notes(reference: Image, result: Image, found: Findings) -> None:
    """Note profiles that differ or cannot be used."""
    for name, picture in (("source", reference), ("result", result)):
        if fault := profile_fault(picture):
            found.note(f"{name}: {fault}")
    if (reference.icc or b"") != (result.icc or b""):
        found.note(
            f"the colour profiles differ (source: {_name(reference.icc)}, result: "
            f"{_name(result.icc)}); both are compared as an sRGB screen shows them"
        )


def profile_loss(reference: Image, result: Image, before: Reduced, after: Reduced) -> float | None:
    """By how much a lost or exchanged profile changed what is shown, root mean square, 1/255.

    ``before``, ``after``: the two in sRGB, at comparison size. ``None`` where both are of one space, or where
    the result fits the source at least as well through its own profile as through the result's: then the
    values were converted. The halfway point decides, since damage adds to either difference alike.
    """
    if space_of(fitted(reference).icc) is space_of(fitted(result).icc):
        return None
    size = (before.rgb.shape[1], before.rgb.shape[0])
    exchanged = shown_rgb(replace(reference, icc=result.icc), size)
    change = _rms(before.rgb, exchanged)
    unconverted = _rms(exchanged, after.rgb) ** 2 + change**2 / 2 < _rms(before.rgb, after.rgb) ** 2
    return change if change > _VISIBLE_255 and unconverted else None


def _name(icc: bytes | None) -> str:
    return "none, which means sRGB" if icc is None else name_of(icc)


def _rms(one: Rows, other: Rows) -> float:
    return math.sqrt(mean_squared_error(_as_floats(one), _as_floats(other)) or 0.0)


def _as_floats(values: Rows) -> RowBands:
    return RowBands(values.shape, STRIP_ROWS, lambda rows: np.asarray(values[rows], np.float32))
