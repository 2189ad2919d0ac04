"""Resize trace: whether an enlargement was resized once more, by a factor foreign to its source's grid.

A resize makes pixels by turns nearer to and farther from those it reads, so the second differences of its
result are larger and smaller with a period (Gallagher 2005, "Detection of linear and cubic interpolation in
JPEG compressed images"): a line in the spectrum of their mean over each column. A picture that was made from
a smaller source and brought to size has one at the same place along both axes. Enlargements of this source
itself, also those reduced to their size, have theirs at multiples of its own grid, which do not count. Nor do
lines of the source's patterns: those that a plain enlargement has too, and multiples of the source's own.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Bytes
from imgpipe.pixels.strips import bands

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Smallest edge of a source.
MIN_PX = 96
#: Cycles per px of the result that are looked at.
_LOWEST, _HIGHEST = 0.13, 0.485
#: Second differences are cut off here: edges would outweigh what is everywhere. Patterns are edges.
_MOST, _ALL = 2, 1020
#: Bins around a line that its window smears it over; as a share of the spectrum at the source's own grid.
_REACH, _OWN_REACH = 2.5, 0.012
#: Codecs' grid of colours, px. Multiples of half the source's grid that are its own.
_GRID_PX, _MULTIPLES = 16, 17
#: A line that is looked into; one that a plain enlargement has too, and the bins around that count.
_LINE, _PLAIN_LINE, _NEAR = 4.0, 3.0, np.ones((1, 7), np.uint8)
#: A line in the source's spectrum, as one that was resized has or a screentone; its multiples that count.
_SOURCE_LINE, _HARMONICS = 10.0, 6
_AROUND, _SMOOTH_PX, _POWER_PX = 65, 31, 63
_BAND_PX, _BANDS = 64, 16


def resize_trace(source: Bytes, result: Bytes) -> float | None:
    """Height of the highest such line over the median around it, in the direction where it is lower.

    Of lumas (height, width) uint8, ``result`` larger than ``source``; about 2 where there is none. ``None``
    below :data:`MIN_PX`.
    """
    if min(source.shape) < MIN_PX:
        return None
    (height, width), source_width = result.shape, source.shape[1]
    across, down = (_spectrum(result, axis) for axis in (1, 0))
    bins = np.arange(int(_LOWEST * width), int(_HIGHEST * width))
    bins = bins[_is_foreign(bins, width, source_width)]
    below = np.floor(bins * (height / width)).astype(int)
    lines = np.minimum(across[bins], np.maximum(down[below], down[below + 1]))
    if lines.max(initial=0.0) >= _LINE:
        plain = np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        across, down = (cv2.dilate(_spectrum(plain, axis)[None], _NEAR)[0] for axis in (1, 0))
        of_source = np.minimum(across[bins], down[below]) >= _PLAIN_LINE
        lines = lines[~of_source & ~_is_of_source(bins / source_width, source)]
    return float(lines.max(initial=0.0))


def _is_foreign(bins: npt.NDArray[Any], side: int, source_side: int) -> Mask:
    """Whether spectral ``bins`` of a result lie apart from multiples of its source's grid and of codecs'."""
    apart = np.ones(bins.shape, np.bool_)
    for half in range(1, _MULTIPLES):
        reach = _REACH if half % 2 else max(_REACH, _OWN_REACH * side)
        apart &= _from_multiple(bins - half * source_side / 2, side) > reach
        apart &= _from_multiple(bins + half * source_side / 2, side) > reach
    return np.asarray(apart & (_from_multiple(bins, side / _GRID_PX) > _REACH), np.bool_)


def _is_of_source(cycles: F64, source: Bytes) -> Mask:
    """Whether frequencies of a result, in cycles per source px, are multiples of lines of its source."""
    own = np.zeros(cycles.shape, np.bool_)
    for axis in (0, 1):
        spectrum, reach = _spectrum(source, axis, _ALL), _REACH / source.shape[axis]
        for line in np.flatnonzero(spectrum >= _SOURCE_LINE) / source.shape[axis]:
            for multiple in range(1, _HARMONICS + 1):
                own |= _from_multiple(cycles - multiple * line, 1.0) <= reach
                own |= _from_multiple(cycles + multiple * line, 1.0) <= reach
    return own


def _from_multiple(values: npt.NDArray[Any], step: float) -> F64:
    """Distances from the nearest multiple of ``step``."""
    return np.asarray(np.abs(values - np.round(values / step) * step))


def _spectrum(plane: Bytes, axis: int, most: int = _MOST) -> F64:
    """Amplitudes along ``axis`` over the median of those around, of mean second differences up to ``most``;
    evenly spread bands of the plane are looked at."""
    turned = plane if axis == 1 else plane.T
    profile, count = np.zeros(turned.shape[1] - 2), 0
    for rows in bands(turned.shape[0], _BAND_PX, _BANDS):
        levels = turned[rows].astype(np.int16)
        second = np.abs(2 * levels[:, 1:-1] - levels[:, :-2] - levels[:, 2:])
        profile += np.minimum(second, most).sum(axis=0)
        count += len(levels)
    profile /= count
    profile -= _running_mean(profile, _SMOOTH_PX)
    profile /= np.sqrt(_running_mean(profile**2, _POWER_PX) + 1e-4)
    # As many bins as the plane is long, so that a resize by whole pixels falls onto one.
    amplitudes = np.abs(np.fft.rfft(profile * np.hanning(profile.size), turned.shape[1]))
    padded = np.pad(amplitudes, _AROUND // 2, mode="reflect")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, _AROUND), axis=1)
    return np.asarray(amplitudes / (around + 1e-9), np.float64)


def _running_mean(values: F64, length: int) -> F64:
    return np.asarray(cv2.blur(values[None], (length, 1))[0], np.float64)
