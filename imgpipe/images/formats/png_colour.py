"""Colours of a PNG: cICP, else iCCP, else sRGB, else gAMA and cHRM (W3C PNG, third edition, 4.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from imgpipe.errors import ImageError
from imgpipe.images.colour_description import SRGB_CURVE, SRGB_PRIMARIES, Curve, Primaries, from_cicp, profile
from imgpipe.images.metadata import icc_fault

#: Chunks and the bytes that they have.
LENGTHS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
#: sRGB as gAMA and cHRM state it, in 1/100,000, and how far rounded statements lie from it.
_SRGB_GAMMA, _GAMMA_TOLERANCE = 45_455, 500
_SRGB_CORNERS, _CORNER_TOLERANCE = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000), 100


def profile_of(
    stated: Mapping[bytes, bytes], icc: bytes | None, *, grey: bool
) -> tuple[bytes | None, list[str]]:
    """The profile for what the file states first in this order, and notes. No profile means sRGB.

    ``stated``: bodies of the chunks of ``LENGTHS``. ``icc``: the file's own profile, inflated.
    """
    notes: list[str] = []
    if (cicp := stated.get(b"cICP")) is not None:
        made, note = _from_cicp(cicp, grey=grey)
        if icc is not None and made is None:
            note = note.replace("; shown as sRGB", "; the PNG's ICC profile counts")
        notes += [note] if note else []
        if made is not None or not note:
            return made, [*notes, "ICC profile not carried: the PNG's cICP stands above it"] if icc else notes
    if icc is not None:
        why = icc_fault(icc)
        if not why:
            return icc, notes
        notes.append(f"ICC profile of {len(icc)} bytes not carried: {why}")
    if b"sRGB" in stated:
        return None, notes
    made, note = _from_gamma_and_corners(stated, grey=grey)
    return made, [*notes, note] if note else notes


def _from_cicp(body: bytes, *, grey: bool) -> tuple[bytes | None, str]:
    primaries, transfer, matrix, full_range = body
    if matrix or full_range != 1:
        return None, f"PNG cICP {body.hex(' ')} ignored: only RGB of the full range is read"
    return from_cicp(primaries, transfer, grey=grey)


def _from_gamma_and_corners(stated: Mapping[bytes, bytes], *, grey: bool) -> tuple[bytes | None, str]:
    gamma = int.from_bytes(stated.get(b"gAMA", b"")) if b"gAMA" in stated else _SRGB_GAMMA
    corners = struct.unpack(">8I", stated[b"cHRM"]) if b"cHRM" in stated else _SRGB_CORNERS
    distances = (abs(ours - theirs) for ours, theirs in zip(corners, _SRGB_CORNERS, strict=True))
    usual_corners = grey or max(distances) <= _CORNER_TOLERANCE
    if usual_corners and abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE:
        return None, ""
    white, red, green, blue = ((corners[i] / 1e5, corners[i + 1] / 1e5) for i in range(0, 8, 2))
    primaries = SRGB_PRIMARIES if usual_corners else Primaries(red, green, blue, white)
    shown = ", ".join(kind.decode() for kind in (b"gAMA", b"cHRM") if kind in stated)
    try:
        curve: Curve = (1e5 / gamma,) if b"gAMA" in stated else SRGB_CURVE
        made = profile(primaries, curve, grey=grey)
    except (ImageError, ZeroDivisionError) as exc:
        return None, f"colour description of the PNG ({shown}) not carried: it is impossible ({exc})"
    return made, f"colour description carried as an ICC profile: the PNG's {shown}"
