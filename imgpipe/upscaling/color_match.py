"""Giving a network's output the colours of its source.

Real-ESRGAN's networks shift colours by 2 to 3 of 255 on real anime. The shift is smooth, so it shows in
the low frequencies of source minus round trip (the output reduced to the source's size), and adding
those back leaves the detail alone.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Blur of the difference at the source's resolution, px.
SIGMA_PX = 8.0

#: Weight below which no visible pixel is near and the correction fades to nothing.
WEIGHT_FLOOR = 1e-3


#: Rows on either side that a row of :func:`low_frequency_difference` depends on: the blur's 32, and 2 each
#: for halving and enlarging. A row of :func:`color_correction` depends on twice as many.
REACH_ROWS = 36


def color_correction(
    source: Floats, round_trip: Floats, alpha: Floats | None = None, *, halve: bool | None = None
) -> Floats:
    """What to add to the output, at the source's resolution: (h, w, 3) float32, 1.0 = full range.

    The low-frequency difference, and that of what then still differs: part of the first correction is
    lost where it is clipped at black and white, and part to the blur itself. On real anime the second
    step takes another 25 to 45% off the largest local shift. Arguments as in
    :func:`low_frequency_difference`.
    """
    correction = low_frequency_difference(source, round_trip, alpha, halve=halve)
    left = round_trip + correction
    np.clip(left, 0.0, 1.0, out=left)
    np.subtract(source, left, out=left)
    correction += _low_frequencies(left, alpha, halve)
    return correction


def low_frequency_difference(
    source: Floats, round_trip: Floats, alpha: Floats | None = None, *, halve: bool | None = None
) -> Floats:
    """blur(source - round_trip): how much too dark the round trip is, in its low frequencies.

    ``source``, ``round_trip``: (h, w, 3) float32 in 0..1. ``alpha``: (h, w) in 0..1; the blur is then a
    normalised convolution, so that colours under transparency have no say. ``halve``: where these are some
    rows of a picture, from an even one on, whether both of its sides are even. Returns (h, w, 3) float32.
    """
    return _low_frequencies(source - round_trip, alpha, halve)


def _low_frequencies(difference: Floats, alpha: Floats | None, halve: bool | None) -> Floats:
    if halve is None:
        halve = has_even_sides(difference.shape)
    if alpha is None:
        return _blur(difference, halve)
    weight = _blur(alpha, halve)
    weighted = _blur(difference * alpha[..., None], halve)
    return np.asarray(weighted / np.maximum(weight, WEIGHT_FLOOR)[..., None], dtype=np.float32)


def has_even_sides(shape: tuple[int, ...]) -> bool:
    """Whether a picture of ``shape`` (h, w, ...) can be halved."""
    return shape[0] % 2 == 0 and shape[1] % 2 == 0


def _blur(values: Floats, halve: bool) -> Floats:
    """A Gaussian blur; where ``halve`` at half the size, which differs by a thousandth."""
    height, width = values.shape[:2]
    if not halve:
        blurred = cv2.GaussianBlur(values, (0, 0), SIGMA_PX, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, dtype=np.float32)
    small = cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma_of_halves(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def sigma_of_halves() -> float:
    """Of the blur at half the size, px: halving and enlarging blur by themselves, by a box of 2 px and a
    triangle of 4 px, of these variances."""
    return math.sqrt(SIGMA_PX**2 - 4 / 12 - 16 / 24) / 2


class ColorShift:
    """The mean difference of round trip and source, added up over rows."""

    def __init__(self) -> None:
        self._total, self._weight = np.zeros(3), 0.0

    def add(self, source: Floats, round_trip: Floats, alpha: Floats | None) -> None:
        """Arguments as in :func:`low_frequency_difference`."""
        difference = round_trip - source
        if alpha is None:
            self._total += np.array(cv2.sumElems(difference)[:3])  # summed in float64
            self._weight += source.shape[0] * source.shape[1]
        else:
            self._total += (difference * alpha[..., None]).sum(axis=(0, 1), dtype=np.float64)
            self._weight += float(alpha.sum(dtype=np.float64))

    @property
    def largest_255(self) -> float:
        """Of the channels' absolute means, weighted by alpha, in 1/255."""
        return float(np.abs(self._total).max() / max(self._weight, 1e-6) * 255)
