"""What every file format is read into before its pixels are touched."""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its picture.

    ``width``, ``height``: px as stored, before the orientation is applied.
    ``frames``: pictures in the file (animation frames, TIFF pages). ``bit_depth``: bits per channel as
    stored (1..16). ``orientation``: EXIF 1..8, how the stored picture must be turned to stand upright.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    bit_depth: int = 8
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Metadata:
    """Raw blocks without their container's wrapping, and what could not be carried, in words.

    ``exif`` starts with its byte order mark (``II`` or ``MM``); ``xmp`` is the packet alone.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()


def damaged(name: str, what: str) -> DecodeError:
    """The error for a file that starts as an image and does not hold together."""
    return DecodeError(f"{name}: {what}; the file is incomplete or damaged: fetch or export it again")
