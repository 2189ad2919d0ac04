"""Headers and limits, checked before any pixel is decoded."""

from __future__ import annotations

import struct
from dataclasses import replace

from imgpipe.errors import LimitExceeded, ProfileUnusable, UnsupportedFormat
from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.formats import avif, bmp, gif, jpeg, jxl, png, tiff, webp
from imgpipe.images.rgb_space import space_of
from imgpipe.images.sniff import sniff
from imgpipe.settings import LimitSettings

_NO_METADATA = Metadata()


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """The header and, for PNG, JPEG, WebP, TIFF, BMP and JPEG XL, the metadata; no pixel is decoded.

    Raises :class:`UnsupportedFormat` and :class:`DecodeError`; ``name`` is used in messages.
    """
    fmt = sniff(data, name)
    try:
        return _read(fmt, data, name)
    except (struct.error, IndexError, OverflowError) as exc:
        raise damaged(name, f"the {fmt} structure breaks off ({exc})") from exc


def describe(data: bytes, name: str) -> Header:
    """The header alone, with ``converted``; errors as :func:`read`."""
    header, meta = read(data, name)
    try:
        # Of AVIF and HEIC the metadata is not read here.
        converted = header.format in ("AVIF", "HEIC") or space_of(meta.icc) is not None
    except ProfileUnusable:
        converted = False
    return replace(header, converted=converted)


def _read(fmt: str, data: bytes, name: str) -> tuple[Header, Metadata]:
    match fmt:
        case "PNG":
            return png.read(data, name)
        case "JPEG":
            return jpeg.read(data, name)
        case "WEBP":
            return webp.read(data, name)
        case "TIFF":
            return tiff.read(data, name)
        case "GIF":
            return _with_note(gif.read(data, name))
        case "BMP":
            return bmp.read(data, name)
        case "AVIF" | "HEIC":
            return _with_note(avif.read_header(data, name, fmt))
        case _:
            header, meta = jxl.read(data, name)
            if header.frames > 1:
                meta = replace(meta, notes=("animated: first frame kept", *meta.notes))
            return header, meta


def _with_note(header: Header) -> tuple[Header, Metadata]:
    note = f"animated: first of {header.frames} frames kept"
    return header, Metadata(notes=(note,)) if header.frames > 1 else _NO_METADATA


def check_frames(header: Header, limits: LimitSettings, name: str) -> None:
    """Raise :class:`UnsupportedFormat` for several pictures in one file where ``animated`` is ``reject``."""
    if limits.animated == "reject" and header.frames > 1:
        what = "pages" if header.format == "TIFF" else "frames"
        raise UnsupportedFormat(
            f"{name}: expected one picture, the {header.format} has {header.frames} {what}; set "
            "limits.animated=first_frame to keep the first, or take the file out of the source"
        )


def check_limits(header: Header, data_size: int, limits: LimitSettings, name: str) -> None:
    """Raise :class:`LimitExceeded` where the file (bytes) or its picture (px) is outside ``limits``."""
    check_data_size(data_size, limits, name)
    width, height = header.width, header.height
    pixels, long, short = width * height, max(width, height), min(width, height)
    if pixels > limits.max_pixels:
        raise LimitExceeded(
            f"{name}: expected at most {limits.max_pixels} px, the {header.format} says {width}x{height} = "
            f"{pixels} px; raise limits.max_pixels or reduce the picture"
        )
    if long > limits.max_aspect_ratio * short:
        raise LimitExceeded(
            f"{name}: expected sides of at most {limits.max_aspect_ratio:g}:1, got {width}x{height} = "
            f"{long / short:.1f}:1; raise limits.max_aspect_ratio or crop the picture"
        )
    if short < limits.min_side:
        raise LimitExceeded(
            f"{name}: expected sides of at least {limits.min_side} px, got {width}x{height}; "
            "lower limits.min_side or take the file out of the source"
        )


def check_data_size(data_size: int, limits: LimitSettings, name: str) -> None:
    """Raise :class:`LimitExceeded` where a file is larger than ``limits.max_bytes``."""
    if data_size > limits.max_bytes:
        raise LimitExceeded(
            f"{name}: expected at most {limits.max_bytes} bytes, the file has {data_size}; "
            "raise limits.max_bytes or reduce the file"
        )
