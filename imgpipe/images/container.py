"""What every format's reader returns: header and metadata, and the error for damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from imgpipe.errors import DecodeError

_MAX_BOXES = 100_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its picture.

    ``width``, ``height``: px as stored, before the orientation is applied.
    ``frames``: pictures in the file (animation frames, TIFF pages). ``bit_depth``: bits per channel as
    stored (1..16). ``orientation``: EXIF 1..8, how the stored picture must be turned to stand upright.
    ``converted``: its colours may be those of another space than sRGB.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    bit_depth: int = 8
    orientation: int = 1
    converted: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """Raw blocks without their container's wrapping; ``notes`` say what is not carried.

    ``exif`` starts with its byte order mark (``II`` or ``MM``); ``xmp`` is the packet alone. ``dpi``: px per
    inch horizontally and vertically, as the format's own field says it.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()
    dpi: tuple[float, float] | None = None


def damaged(name: str, what: str) -> DecodeError:
    """The error for a file of a known format with a broken structure."""
    return DecodeError(f"{name}: {what}; the file is incomplete or damaged: fetch or export it again")


def dpi_of(across: float, down: float) -> tuple[float, float] | None:
    """Px per inch as a file states them; ``None`` for what can be no resolution, or fits no other format."""
    return (across, down) if all(0.01 <= value <= 1e6 for value in (across, down)) else None


def full_range(
    samples: npt.NDArray[np.unsignedinteger[Any]], depth: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """0 .. 2^depth - 1 spread over 0 .. 255 (uint8; up to 8 bits) or 0 .. 65535 (uint16), rounded to nearest.

    ``depth``: 1..16 bits. Larger samples are taken for 2^depth - 1.
    """
    top, full = (1 << depth) - 1, 255 if depth <= 8 else 65535
    table = (np.arange(top + 1, dtype=np.uint64) * full + top // 2) // top
    spread = table.astype(np.uint8 if depth <= 8 else np.uint16)[np.minimum(samples, top)]
    return cast(npt.NDArray[np.uint8] | npt.NDArray[np.uint16], spread)


def iso_boxes(
    data: bytes, at: int, end: int, name: str, *, loose_end: bool = False
) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(kind, (start, end) of the body) of the ISO 14496-12 boxes between two offsets.

    Raises :class:`DecodeError` for a box that ends behind ``end``; with ``loose_end`` they end before it.
    """
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        head = 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            if loose_end:
                return
            raise damaged(name, f"the box {kind.decode('latin-1')!r} at byte {at} runs out of the file")
        yield kind, (at + head, at + size)
        at += size
    raise damaged(name, f"the file has more than {_MAX_BOXES} boxes in a row")
