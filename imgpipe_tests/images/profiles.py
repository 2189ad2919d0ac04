"""ICC profiles of known primaries and curves, made by hand."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from imgpipe_tests.images.sources import _profile, _text, _xyz

#: Rows X, Y, Z (D50) of red, green and blue.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
_WHITE = {b"wtpt": _xyz(0.9642, 1, 0.8249)}
_LINEAR = b"curv\0\0\0\0" + struct.pack(">I", 0)
#: sRGB's own curve, as ICC.1 writes it (parametric, type 3).
_SRGB_CURVE = b"para\0\0\0\0" + struct.pack(
    ">HH5i", 3, 0, *[round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)]
)


#: A gamma, a tag of a curve, or sRGB's own curve.
Curve = float | bytes | None


def _curve(gamma: Curve) -> bytes:
    if isinstance(gamma, bytes):
        return gamma
    if gamma is None:
        return _SRGB_CURVE
    exact = b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, round(gamma * 65536))
    return _LINEAR if gamma == 1 else exact


def rgb(name: str, primaries: tuple[tuple[float, ...], ...] = SRGB, gamma: Curve = None) -> bytes:
    """A curve-and-matrix profile."""
    tags = {b"desc": _text(name.encode()), **_WHITE, **_curves_and_matrix(primaries, gamma)}
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def _curves_and_matrix(primaries: tuple[tuple[float, ...], ...], gamma: Curve) -> dict[bytes, bytes]:
    tags = {c + b"XYZ": _xyz(*v) for c, v in zip((b"r", b"g", b"b"), primaries, strict=True)}
    return tags | {c + b"TRC": _curve(gamma) for c in (b"r", b"g", b"b")}


def grey(gamma: Curve) -> bytes:
    tags = {b"desc": _text(b"grey (test)"), **_WHITE, b"kTRC": _curve(gamma)}
    return _profile(b"GRAY", b"XYZ ", b"mntr", tags)


def of_class(kind: bytes, space: bytes = b"RGB ") -> bytes:
    """sRGB's curves and matrix, under another class."""
    made = rgb("of another class")
    return made[:12] + kind + space + made[20:]


def without_tags() -> bytes:
    return (132).to_bytes(4, "big") + rgb("empty")[4:128] + bytes(4)


def table(grid: int = 17, gamma: float = 1.8, *, beside_linear: bool = False) -> bytes:
    """P3 with a gamma, as a table of Lab (lut16) without a way back, as scanners' profiles are;
    ``beside_linear``: with curves and a matrix that say otherwise."""
    axis = np.linspace(0, 1, grid)
    light = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1) ** gamma
    ratio = light @ np.array(P3) / (0.9642, 1, 0.8249)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    lab = [116 * root[..., 1] - 16, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])]
    coded = np.stack([lab[0] * 652.8, (lab[1] + 128) * 256, (lab[2] + 128) * 256], -1)
    body = np.clip(np.round(coded), 0, 65535).astype(">u2").tobytes()
    straight = struct.pack(">HH", 0, 65535) * 3
    head = b"mft2\0\0\0\0" + bytes([3, 3, grid, 0])
    head += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">HH", 2, 2)
    tags = {b"desc": _text(b"P3 as a table (test)"), **_WHITE, b"A2B0": head + straight + body + straight}
    pcs = b"XYZ " if beside_linear else b"Lab "
    tags |= _curves_and_matrix(SRGB, 1.0) if beside_linear else {}
    return _profile(b"RGB ", pcs, b"scnr", tags)


def by_pillow(pixels: npt.NDArray[np.uint8], icc: bytes) -> npt.NDArray[np.uint8]:
    """8-bit (h, w, 1 or 3) as sRGB by Little CMS as Pillow binds it, without its short cut of a table."""
    opened = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    converted = ImageCms.profileToProfile(
        opened,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
    )
    return np.asarray(converted, np.uint8)


def stored(
    shown: npt.NDArray[Any], primaries: tuple[tuple[float, ...], ...], gamma: float | None
) -> npt.NDArray[np.uint16]:
    """sRGB's R'G'B' (h, w, 3) in 0..1 as 16-bit values of a profile of :func:`rgb`, in closed form."""
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    own = np.clip(light @ np.array(SRGB) @ np.linalg.inv(primaries), 0, 1)
    if gamma is None:
        values = np.where(own <= 0.0031308, 12.92 * own, 1.055 * own ** (1 / 2.4) - 0.055)
    else:
        values = own ** (1 / gamma)
    return np.round(values * 65535).astype(np.uint16)
