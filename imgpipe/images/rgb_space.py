"""RGB and grey ICC profiles as arithmetic: a curve per channel and a matrix to linear sRGB.

The numbers are sampled from Little CMS in floating point, so that they are what the profile does, whatever
its name and the way it is written. Little CMS itself takes 190 ms per megapixel for what takes 20 to 40 ms
here. Profiles that are no curves and matrix, but tables, are converted by Little CMS.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.icc import differ_255, is_srgb, linear_srgb, probes
from imgpipe.images.metadata import icc_space
from imgpipe.images.srgb import Floats, srgb_encoded

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_LEVELS = 65536
#: How far curves and a matrix may be from the profile itself as a screen shows it, 1/255.
_MODEL_TOLERANCE_255 = 0.25
#: Steps of the table from linear light to stored levels, in its fourth root: fine enough for 16 bits from
#: black (of any curve up to gamma 4) to white.
_ROOT_STEPS = 2**18 - 1
#: A matrix whose condition number is above this counts as without an inverse.
_LARGEST_CONDITION = 1e4
#: Classes of profiles (ICC.1, 7.2.5) that say what one picture's values mean, and the others.
_CLASSES = {b"mntr", b"scnr", b"prtr", b"spac"}
_OTHER_CLASSES = {
    b"link": "a device link",
    b"abst": "an abstract profile",
    b"nmcl": "a list of named colours",
}
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, eq=False)
class RgbSpace:
    """A colour space other than sRGB, of 1 or 3 channels.

    ``curves``: (channels, 65536) float32, never falling, the linear light 0..1 of each 16-bit level.
    ``matrix``: (channels, channels) float32, from that to linear sRGB: ``matrix @ light``. ``tables``: the
    profile itself where it is no curves and matrix; ``curves`` are then its greys', and ``matrix`` is the
    nearest one: close to what networks know, and with an inverse, which tables need not have.
    """

    curves: Floats
    matrix: Floats
    tables: bytes = b""

    def light(self, levels: Levels) -> Floats:
        """Stored (height, width, channels) of 8 or 16 bits as linear light of sRGB's primaries, float32,
        beyond 0..1 outside of sRGB; for ``tables`` nearly so."""
        step = 1 if levels.dtype == np.uint16 else 257
        own = np.empty(levels.shape, np.float32)
        for channel, curve in enumerate(self.curves):
            own[..., channel] = curve[::step][levels[..., channel]]
        return _times(self.matrix, own)

    def levels(self, light: Floats) -> npt.NDArray[np.uint16]:
        """The inverse of :meth:`light`, 16 bits, clipped to the space."""
        own = np.clip(_times(self._inverse, light), 0.0, 1.0)
        at = (np.sqrt(np.sqrt(own)) * np.float32(_ROOT_STEPS) + np.float32(0.5)).astype(np.int32)
        found = np.empty(own.shape, np.uint16)
        for channel, table in enumerate(self._level_of_root):
            found[..., channel] = table[at[..., channel]]
        return found

    def shown(self, levels: Levels) -> Floats:
        """Stored levels as sRGB's R'G'B' (grey: one channel), float32 0..1, clipped to sRGB."""
        if self.tables:
            full = np.float32(np.iinfo(levels.dtype).max)
            light = linear_srgb(self.tables, levels.astype(np.float32) / full)
        else:
            light = self.light(levels)
        return srgb_encoded(np.clip(light, 0.0, 1.0))

    @functools.cached_property
    def _inverse(self) -> Floats:
        return np.linalg.inv(self.matrix.astype(np.float64)).astype(np.float32)

    @functools.cached_property
    def _level_of_root(self) -> list[npt.NDArray[np.uint16]]:
        light = np.linspace(0.0, 1.0, _ROOT_STEPS + 1) ** 4
        return [
            np.floor(np.interp(light, curve, np.arange(_LEVELS)) + 0.5).astype(np.uint16)
            for curve in self.curves
        ]


@functools.lru_cache(maxsize=16)
def space_of(icc: bytes | None) -> RgbSpace | None:
    """The space of a profile for RGB or grey; ``None`` for sRGB's own, and without a profile.

    Raises :class:`ValueError` where the profile is of no use: Little CMS refuses it, it is for other colours
    or no device's, or it shows one colour for everything.
    """
    if icc is None:
        return None
    channels = {"GRAY": 1, "RGB": 3}.get(icc_space(icc))
    if channels is None:
        raise ValueError(f"it is for {icc_space(icc)}")
    if icc[12:16] not in _CLASSES:
        kind = _OTHER_CLASSES.get(icc[12:16], f"of the unknown class {icc[12:16]!r}")
        raise ValueError(f"it is {kind}, not a display's, scanner's, printer's or colour space's")
    values = probes(channels)
    light = linear_srgb(icc, values)
    if is_srgb(icc):
        return None
    found = _curves_and_matrix(icc, channels)
    if found is not None:
        levels = np.floor(values[None] * np.float32(_LEVELS - 1) + np.float32(0.5)).astype(np.uint16)
        if differ_255(found.light(levels)[0], light) <= _MODEL_TOLERANCE_255:
            return found
    return _nearest_to_tables(icc, values, light)


def _nearest_to_tables(icc: bytes, values: Floats, light: Floats) -> RgbSpace:
    """The greys' curve, and the matrix that is nearest to ``light`` of ``values`` by least squares."""
    channels = values.shape[1]
    greys = _rising(linear_srgb(icc, np.repeat(_ramp(), channels, axis=1)) @ _LUMINANCE[-channels:])
    own = greys[np.floor(values * np.float32(_LEVELS - 1) + np.float32(0.5)).astype(np.intp)]
    matrix = np.linalg.lstsq(own, light, rcond=None)[0].T
    if np.linalg.cond(matrix) > _LARGEST_CONDITION:
        matrix = np.eye(channels)
    return RgbSpace(np.stack([greys] * channels), matrix.astype(np.float32), tables=icc)


def _curves_and_matrix(icc: bytes, channels: int) -> RgbSpace | None:
    """Sampled a channel at a time, the others 0; ``None`` where a channel does nothing or the matrix has no
    inverse."""
    curves, columns = [], []
    for channel in range(channels):
        values = np.zeros((_LEVELS, channels), np.float32)
        values[:, channel] = _ramp()[:, 0]
        light = linear_srgb(icc, values).astype(np.float64)
        column = light[-1] - light[0]
        if not np.abs(column).max() > 1e-3:
            return None
        curves.append(_rising((light - light[0]) @ column))
        columns.append(column)
    matrix = np.stack(columns, axis=1)
    if np.linalg.cond(matrix) > _LARGEST_CONDITION:
        return None
    return RgbSpace(np.stack(curves), matrix.astype(np.float32))


def _rising(light: npt.NDArray[Any]) -> Floats:
    """A curve from 0 to 1 that never falls."""
    rising = np.maximum.accumulate(light - light[0])
    if not rising[-1] > 1e-6:
        raise ValueError("it shows the same colour for every value")
    return np.asarray(np.clip(rising / rising[-1], 0.0, 1.0), np.float32)


def _ramp() -> Floats:
    return np.linspace(0.0, 1.0, _LEVELS, dtype=np.float32)[:, None]


def _times(matrix: Floats, colours: Floats) -> Floats:
    """``matrix @ colour`` for every pixel; OpenCV drops a channel axis of 1."""
    return np.asarray(cv2.transform(colours, matrix), np.float32).reshape(colours.shape)
