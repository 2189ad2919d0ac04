"""ICC profiles (ICC.1:2022) as numbers: curves and a matrix, and a name.

Profiles are foreign bytes: they are read here in bounded Python, and by no C library in this process. What is
no curves and matrix, but tables, is Little CMS's in a worker process (:mod:`imgpipe.images.icc_tables`).
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.srgb import srgb_profile

_Floats = npt.NDArray[np.float64]

#: Levels that a curve is sampled at: those of 16 bits.
LEVELS = 65536
#: More tags than any profile has; Little CMS takes no more either.
_MAX_TAGS = 100
_MAX_NAME = 100
#: Parametric curves (ICC.1, 10.18): kind -> how many of g, a, b, c, d, e, f they state.
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}


def curves_and_matrix(icc: bytes) -> tuple[_Floats, _Floats] | None:
    """Of a profile for grey (n = 1) or RGB (3): (n, 65536) linear light 0..1 of each 16-bit level, never
    falling, and (n, n) from that to linear sRGB, relative colorimetric.

    ``None`` where it has tables, which count above curves, or its curves do not start at black, fall, or are
    of a kind that is not known here.
    """
    tags = _tags(icc)
    if icc[20:24] != b"XYZ " or any(name[:3] in (b"A2B", b"D2B") for name in tags):
        return None
    channels = [b"k"] if icc[16:20] == b"GRAY" else [b"r", b"g", b"b"]
    curves = [_curve(tags.get(channel + b"TRC", b"")) for channel in channels]
    colorants = [_xyz(tags.get(channel + b"XYZ", b"")) for channel in channels]
    if any(curve is None for curve in curves) or (len(channels) == 3 and any(c is None for c in colorants)):
        return None
    sampled = np.array(curves)
    if not np.isfinite(sampled).all() or sampled[:, 0].any() or np.diff(sampled).min() < 0:
        return None
    white = sampled[:, -1:]
    if not white.all():
        return None
    matrix = np.eye(1) if len(channels) == 1 else _xyz_to_srgb() @ np.array(colorants).T
    return sampled / white, matrix * white.T


@functools.cache
def _xyz_to_srgb() -> _Floats:
    """From XYZ relative to D50 to linear sRGB, rounded as in profiles, so that sRGB's own give the unit."""
    tags = _tags(srgb_profile())
    return np.linalg.inv(np.array([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T)


def name_of(icc: bytes) -> str:
    """What the profile calls itself, printable, at most 100 characters; ``unnamed`` where it says nothing."""
    tag = _tags(icc).get(b"desc", b"")
    text = ""
    if tag[:4] == b"desc":
        text = tag[12 : 12 + min(int.from_bytes(tag[8:12], "big"), _MAX_NAME)].decode("ascii", "replace")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        size, at = struct.unpack_from(">II", tag, 20)
        text = tag[at : at + min(size, 2 * _MAX_NAME)].decode("utf-16-be", "replace")
    return "".join(c for c in text.split("\0")[0] if c.isprintable()).strip() or "unnamed"


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """Signature -> body of the tags (ICC.1, 7.3), as far as it lies in the profile."""
    count = int.from_bytes(icc[128:132], "big")
    if not 0 < count <= _MAX_TAGS or len(icc) < 132 + 12 * count:
        return {}
    tags: dict[bytes, bytes] = {}
    for signature, at, size in struct.iter_unpack(">4sII", icc[132 : 132 + 12 * count]):
        tags.setdefault(signature, icc[at : at + size])
    return tags


def _xyz(tag: bytes) -> _Floats | None:
    return _fixed(tag, 8, 3) if tag[:4] == b"XYZ " and len(tag) >= 20 else None


def _curve(tag: bytes) -> npt.NDArray[Any] | None:
    """(65536,) of a ``curv`` or ``para`` tag (ICC.1, 10.6 and 10.18)."""
    if len(tag) < 12:
        return None
    values = np.linspace(0.0, 1.0, LEVELS)
    count, kind = int.from_bytes(tag[8:12], "big"), int.from_bytes(tag[8:10], "big")
    if tag[:4] == b"curv" and len(tag) >= 12 + 2 * count:
        stored = np.frombuffer(tag, ">u2", count, 12)
        if count <= 1:
            return values ** (stored[0] / 256) if count else values
        return np.interp(values, np.linspace(0.0, 1.0, count), stored / 65535)
    if tag[:4] == b"para" and kind in _PARAMETERS and len(tag) >= 12 + 4 * _PARAMETERS[kind]:
        stated = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        stated[: _PARAMETERS[kind]] = _fixed(tag, 12, _PARAMETERS[kind])
        return _parametric(kind, stated, values)
    return None


def _parametric(kind: int, parameters: list[float], values: _Floats) -> _Floats | None:
    """(a v + b)^g + e from d on, c v + f below; kinds 1 and 2 have their d at -b / a and c as f and as e."""
    g, a, b, c, d, e, f = parameters
    if kind in (1, 2):
        if not a:
            return None
        c, d, e, f = 0.0, -b / a, c, c
    with np.errstate(all="ignore"):  # what is not finite is refused
        return np.where(values >= d, np.maximum(a * values + b, 0.0) ** g + e, c * values + f)


def _fixed(tag: bytes, at: int, count: int) -> _Floats:
    """s15Fixed16Numbers."""
    return np.frombuffer(tag, ">i4", count, at) / 65536
