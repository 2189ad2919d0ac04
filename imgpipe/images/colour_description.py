"""ICC profiles made from a file's own description of its colours: primaries, white point and transfer curve.

PNG (gAMA, cHRM, cICP) and AVIF (nclx) can say what their values mean without a profile. The profiles are
matrix/TRC profiles of ICC.1:2022 (version 4.4): colorants adapted to D50 by Bradford's transform, one curve.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgpipe.errors import ImageError

_Floats = npt.NDArray[np.float64]
_XY = tuple[float, float]

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
_TABLE_SIZE = 4096
#: CICP's "unspecified": read as sRGB, as MIAF (ISO 23000-22) says.
_UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class Primaries:
    """CIE 1931 xy of red, green, blue and white."""

    red: _XY
    green: _XY
    blue: _XY
    white: _XY = (0.3127, 0.3290)

    def to_xyz_d50(self) -> tuple[_Floats, _Floats]:
        """(3, 3) linear RGB -> XYZ relative to D50, and the (3, 3) adaptation from ``white`` to D50.

        Raises :class:`ImageError` where the three primaries do not span a gamut around the white point.
        """
        corners = np.array([(x, y, 1 - x - y) for x, y in (self.red, self.green, self.blue)]).T
        x, y = self.white
        if y <= 0 or abs(np.linalg.det(corners)) < 1e-4:
            raise ImageError(f"expected the corners of a triangle and a white point inside, got {self}")
        white = np.array([x / y, 1.0, (1 - x - y) / y])
        shares = np.linalg.solve(corners, white)
        cone = _BRADFORD @ white
        if min(shares) <= 0 or min(cone) <= 0:
            raise ImageError(f"expected a white point inside the triangle of the primaries, got {self}")
        adapt = np.linalg.solve(_BRADFORD, np.diag((_BRADFORD @ _D50) / cone) @ _BRADFORD)
        return adapt @ corners * shares, adapt


#: A transfer curve, stored value 0..1 -> linear light 0..1: ``(gamma,)``, or ``(g, a, b, c, d)`` for
#: (a v + b)^g from d on and c v below (ICC.1, parametric curve 3), or a table over equal steps.
Curve = tuple[float, ...] | _Floats

SRGB_PRIMARIES = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

_ILLUMINANT_C = (0.310, 0.316)
_SMPTE_170M = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

#: ITU-T H.273, table 2.
_CICP_PRIMARIES: dict[int, tuple[str, Primaries]] = {
    1: ("BT.709", SRGB_PRIMARIES),
    4: ("BT.470 M", Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _ILLUMINANT_C)),
    5: ("BT.470 BG", Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06))),
    6: ("SMPTE 170M", _SMPTE_170M),
    7: ("SMPTE 240M", _SMPTE_170M),
    8: ("film", Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _ILLUMINANT_C)),
    9: ("BT.2020", Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
    10: ("XYZ", Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))),
    11: ("DCI-P3", Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
    22: ("EBU 3213", Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077))),
}


def _pq(v: _Floats) -> _Floats:
    """SMPTE ST 2084; 1.0 is 10,000 cd/m2."""
    root = v ** (32 / 2523)
    light: _Floats = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610)
    return light


def _hlg(v: _Floats) -> _Floats:
    """ARIB STD-B67, light of the scene; 1.0 is its peak."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)


def _logarithmic(decades: float) -> Callable[[_Floats], _Floats]:
    return lambda v: np.where(v > 0, 10 ** (decades * (v - 1)), 0.0)


def _table(curve: Callable[[_Floats], _Floats]) -> _Floats:
    return np.clip(curve(np.linspace(0, 1, _TABLE_SIZE)), 0, 1)


def _camera_curve(scale: float, break_: float, slope: float) -> Curve:
    """The inverse of L -> scale L^0.45 - (scale - 1), with a straight foot of ``slope`` below ``break_``."""
    return (1 / 0.45, 1 / scale, (scale - 1) / scale, 1 / slope, slope * break_)


_BT_709: Curve = _camera_curve(1.09929682680944, 0.018053968510807, 4.5)

#: ITU-T H.273, table 3; 11 and 12 extend BT.709 only below 0 and above 1.
_CICP_CURVES: dict[int, tuple[str, Curve]] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), ("BT.709", _BT_709)),
    4: ("gamma 2.2", (2.2,)),
    5: ("gamma 2.8", (2.8,)),
    7: ("SMPTE 240M", _camera_curve(1.111572195921731, 0.022821585529445, 4.0)),
    8: ("linear", (1.0,)),
    9: ("logarithmic 100:1", _table(_logarithmic(2.0))),
    10: ("logarithmic 316:1", _table(_logarithmic(2.5))),
    13: ("sRGB", SRGB_CURVE),
    16: ("PQ", _table(_pq)),
    17: ("gamma 2.6", (2.6,)),
    18: ("HLG", _table(_hlg)),
}


def profile(
    primaries: Primaries, curve: Curve, *, grey: bool = False, cicp: tuple[int, int] | None = None
) -> bytes:
    """An ICC profile for RGB, or for grey, of which only the white point counts; always the same bytes.

    ``cicp``: H.273's numbers of primaries and curve, carried in the profile's own tag beside its curves.
    Raises :class:`ImageError` where the numbers do not describe a colour space.
    """
    colorants, adaptation = primaries.to_xyz_d50()
    curve_tag = _curve_tag(curve)
    tags = [
        (b"desc", _text(_described(primaries, curve, grey=grey))),
        (b"cprt", _text("No copyright, use freely")),
        (b"wtpt", _xyz(_D50)),
        (b"chad", b"sf32\0\0\0\0" + _fixed(adaptation.ravel())),
    ]
    if cicp is not None and not grey:
        tags.append((b"cicp", b"cicp\0\0\0\0" + bytes((*cicp, 0, 1))))
    if grey:
        tags.append((b"kTRC", curve_tag))
    else:
        tags += [(b"rgb"[i : i + 1] + b"XYZ", _xyz(colorants[:, i])) for i in range(3)]
        tags += [(b"rgb"[i : i + 1] + b"TRC", curve_tag) for i in range(3)]
    return _assembled(b"GRAY" if grey else b"RGB ", tags)


def from_cicp(primaries: int, transfer: int, *, grey: bool = False) -> tuple[bytes | None, str]:
    """The profile for H.273's numbers and a note on it.

    No profile where the numbers mean sRGB (then there is no note) or are not known. "Unspecified" (2) is
    read as sRGB's primaries or curve.
    """
    primaries = 1 if primaries == _UNSPECIFIED else primaries
    transfer = 13 if transfer == _UNSPECIFIED else transfer
    if primaries not in _CICP_PRIMARIES or transfer not in _CICP_CURVES:
        return (
            None,
            f"colour description not carried: CICP {primaries}/{transfer} is not known; shown as sRGB",
        )
    if transfer == 13 and (primaries == 1 or grey):
        return None, ""
    shown = f"{_CICP_PRIMARIES[primaries][0]} primaries, {_CICP_CURVES[transfer][0]} curve"
    made = profile(
        _CICP_PRIMARIES[primaries][1],
        _CICP_CURVES[transfer][1],
        grey=grey,
        cicp=(primaries, transfer),
    )
    return made, f"colour description carried as an ICC profile: {shown} (CICP {primaries}/{transfer})"


def _described(primaries: Primaries, curve: Curve, *, grey: bool) -> str:
    """A name from the tables, or the numbers themselves."""
    corners = next((n for n, known in _CICP_PRIMARIES.values() if known == primaries), "own primaries")
    bend = next((n for n, known in _CICP_CURVES.values() if np.array_equal(known, curve)), "")
    bend = bend or (f"gamma {curve[0]:.4g}" if len(curve) == 1 else "own curve")
    return f"Grey, {bend}" if grey else f"{corners}, {bend}"


def _curve_tag(curve: Curve) -> bytes:
    if isinstance(curve, tuple):
        if len(curve) not in (1, 5) or not 0 < curve[0] < 100:
            raise ImageError(f"expected a gamma above 0 and below 100, got a curve of {curve}")
        return b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + _fixed(np.array(curve))
    return b"curv\0\0\0\0" + struct.pack(">I", len(curve)) + np.rint(curve * 65535).astype(">u2").tobytes()


def _fixed(values: _Floats) -> bytes:
    """s15Fixed16Number."""
    return np.rint(values * 65536).astype(">i4").tobytes()


def _xyz(values: _Floats) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(encoded), 28) + encoded


def _assembled(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """Header (ICC.1, 7.2), tag table and tags; equal tags are stored once."""
    at = 128 + 4 + 12 * len(tags)
    table, bodies, places = [struct.pack(">I", len(tags))], [], dict[bytes, int]()
    for signature, body in tags:
        if body not in places:
            places[body] = at
            bodies.append(body + b"\0" * (-len(body) % 4))
            at += len(bodies[-1])
        table.append(struct.pack(">4sII", signature, places[body], len(body)))
    head = struct.pack(">I4sI4s4s4s", at, b"\0" * 4, 0x04400000, b"mntr", space, b"XYZ ") + _DATE + b"acsp"
    head = head.ljust(64, b"\0") + struct.pack(">I", 1) + _fixed(_D50)
    return b"".join([head.ljust(128, b"\0"), *table, *bodies])
