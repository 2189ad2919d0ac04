"""RGB and grey ICC profiles as arithmetic: a curve per channel and a matrix to linear sRGB.

Little CMS takes 190 ms per megapixel for what takes 20 to 40 ms here. Profiles that are no curves and matrix,
but tables, are converted by Little CMS.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import ProfileUnusable
from imgpipe.images.icc import LEVELS, curves_and_matrix
from imgpipe.images.icc_tables import linear_srgb
from imgpipe.images.metadata import icc_space
from imgpipe.images.srgb import Floats, srgb_encoded, srgb_linear

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

#: A profile is sRGB where it shows no colour farther than this from what sRGB shows, 1/255 per channel.
#: Files called sRGB differ by up to 1.4 (Argyll's), the nearest other space (ITU-R BT.709) by 16.
SRGB_TOLERANCE_255 = 2.0
_GREYS = 257
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
            np.floor(np.interp(light, curve, np.arange(LEVELS)) + 0.5).astype(np.uint16)
            for curve in self.curves
        ]


def space_of(icc: bytes | None) -> RgbSpace | None:
    """The space of a profile for RGB or grey; ``None`` for sRGB's own, and without a profile.

    Raises :class:`ProfileUnusable` where the profile is for other colours or no device's, where Little CMS
    refuses its tables, and where it shows one colour for everything.
    """
    if icc is None:
        return None
    found = _space_or_fault(icc)
    if isinstance(found, str):
        raise ProfileUnusable(found)
    return found


@functools.lru_cache(maxsize=16)
def _space_or_fault(icc: bytes) -> RgbSpace | str | None:
    try:
        return _space(icc)
    except ProfileUnusable as exc:
        return str(exc)


def _space(icc: bytes) -> RgbSpace | None:
    channels = {"GRAY": 1, "RGB": 3}.get(icc_space(icc))
    if channels is None:
        raise ProfileUnusable(f"it is for {icc_space(icc)}")
    if icc[12:16] not in _CLASSES:
        kind = _OTHER_CLASSES.get(icc[12:16], f"of the unknown class {icc[12:16]!r}")
        raise ProfileUnusable(f"it is {kind}, not a display's, scanner's, printer's or colour space's")
    values = _probes(channels)
    read = curves_and_matrix(icc)
    if read is not None and np.linalg.cond(read[1]) <= _LARGEST_CONDITION:
        space = RgbSpace(read[0].astype(np.float32), read[1].astype(np.float32))
        light = space.light(_levels(values)[None])[0]
    else:
        light = linear_srgb(icc, values)
        space = _nearest_to_tables(icc, values, light)
    shown, srgb = (srgb_encoded(np.clip(one, 0.0, 1.0)) for one in (light, srgb_linear(values)))
    return None if np.abs(shown - srgb).max() * 255 <= SRGB_TOLERANCE_255 else space


def _probes(channels: int) -> Floats:
    """(n, channels) values 0..1 to try a profile with: a grid of colours and the greys."""
    axis = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[axis] * channels, indexing="ij"), axis=-1).reshape(-1, channels)
    greys = np.linspace(0.0, 1.0, _GREYS, dtype=np.float32)[:, None]
    return np.concatenate([grid, np.repeat(greys, channels, axis=1)])


def _nearest_to_tables(icc: bytes, values: Floats, light: Floats) -> RgbSpace:
    """The greys' curve, and the matrix that is nearest to ``light`` of ``values`` by least squares."""
    channels = values.shape[1]
    ramp = np.linspace(0.0, 1.0, LEVELS, dtype=np.float32)[:, None]
    greys = _rising(linear_srgb(icc, np.repeat(ramp, channels, axis=1)) @ _LUMINANCE[-channels:])
    own = greys[_levels(values)]
    matrix = np.linalg.lstsq(own, light, rcond=None)[0].T
    if np.linalg.cond(matrix) > _LARGEST_CONDITION:
        matrix = np.eye(channels)
    return RgbSpace(np.stack([greys] * channels), matrix.astype(np.float32), tables=icc)


def _rising(light: npt.NDArray[Any]) -> Floats:
    """A curve from 0 to 1 that never falls."""
    rising = np.maximum.accumulate(light - light[0])
    if not rising[-1] > 1e-6:
        raise ProfileUnusable("it shows the same colour for every value")
    return np.asarray(np.clip(rising / rising[-1], 0.0, 1.0), np.float32)


def _levels(values: Floats) -> npt.NDArray[np.uint16]:
    """Values 0..1 as levels of 16 bits."""
    return np.asarray(np.floor(values * np.float32(LEVELS - 1) + np.float32(0.5)), np.uint16)


def _times(matrix: Floats, colours: Floats) -> Floats:
    """``matrix @ colour`` for every pixel; OpenCV drops a channel axis of 1."""
    return np.asarray(cv2.transform(colours, matrix), np.float32).reshape(colours.shape)
