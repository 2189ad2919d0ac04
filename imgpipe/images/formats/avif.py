"""AVIF and HEIF containers (ISO 14496-12, ISO 23008-12): the primary item's header, and AVIF's pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import _avif

from imgpipe.errors import LimitExceeded, UnsupportedFormat
from imgpipe.images import colour_description
from imgpipe.images.container import Header, Metadata, damaged, full_range, iso_boxes
from imgpipe.images.formats.iso_items import Items, read_items
from imgpipe.images.metadata import reset_exif_orientation, reset_xmp_orientation, screen

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}

#: libavif's own limits.
_MAX_SIDE, _MAX_PIXELS = 32768, 16384 * 16384

#: What libavif says of files that are whole, but not for it.
_NOT_FOR_LIBAVIF = ("Not implemented", "No codec available", "Unsupported depth")
#: Pictures made of others, of which it knows only grids.
_DERIVED = {b"iden", b"iovl"}


def read_header(data: bytes, name: str, fmt: str) -> Header:
    """Size (px as stored, before crop and turns), depth and number of frames.

    ``orientation`` is 1: the container's own turns are made where the pixels are decoded. Raises
    :class:`DecodeError` for a broken structure, :class:`UnsupportedFormat` for a video without a picture.
    """
    items = _items(data, name, fmt)
    size = items.first(b"ispe")
    if len(size) < 12:
        raise damaged(name, f"the {fmt} does not say how large its picture is")
    width, height = struct.unpack_from(">II", size, 4)
    if not width or not height:
        raise damaged(name, f"the {fmt} says {width}x{height} px")
    return Header(fmt, width, height, _frames(data, name), _depth(items))


def decode_avif(
    data: bytes, header: Header, meta: Metadata, name: str
) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], Metadata]:
    """(height, width, 1..4) upright pixels of the primary item, full range, and the metadata.

    Crop (``clap``), turn (``irot``) and mirror (``imir``) are applied as listed; EXIF's and XMP's orientation
    says nothing here (ISO 23008-12) and becomes 1. Colours described by ``nclx`` get a profile. Raises
    :class:`LimitExceeded`, :class:`UnsupportedFormat` and :class:`DecodeError`; the decoder's errors pass.
    """
    if max(header.width, header.height) > _MAX_SIDE or header.width * header.height > _MAX_PIXELS:
        raise LimitExceeded(
            f"{name}: expected an AVIF of at most {_MAX_SIDE} px a side and {_MAX_PIXELS} px, which its "
            f"decoder takes, got {header.width}x{header.height}; convert it to PNG or TIFF, or reduce it"
        )
    items = _items(data, name, "AVIF")
    blocks = [at for at, kind in items.kinds.items() if kind in (b"Exif", b"mime")]
    try:
        decoded = imagecodecs.avif_decode(_still(data, blocks))
    except imagecodecs.AvifError as exc:
        derived = "Primary item not found" in str(exc) and not _DERIVED.isdisjoint(items.kinds.values())
        if derived or any(known in str(exc) for known in _NOT_FOR_LIBAVIF):
            raise UnsupportedFormat(
                f"{name}: this AVIF is of a kind that its decoder does not know ({exc}); convert it to PNG"
            ) from exc
        if "Out of memory" in str(exc):
            raise MemoryError(str(exc)) from exc
        raise
    if decoded.shape[:2] != (header.height, header.width) or decoded.ndim > 3:
        raise damaged(name, "the compressed pixels of the AVIF do not make up its picture")
    pixels = decoded[..., None] if decoded.ndim == 2 else decoded
    if pixels.dtype == np.uint16:
        pixels = full_range(pixels, header.bit_depth)
    notes = list(meta.notes)
    if rest := len(data) - max(end for _, (_, end) in iso_boxes(data, 0, len(data), name, loose_end=True)):
        notes.append(f"{rest} bytes at the end of the AVIF make up no box: its picture is complete")
    pixels = _transformed(pixels, items.properties, notes)
    exif = xmp = None
    try:
        if blocks:
            *_, exif, _, xmp = _avif.AvifDecoder(_still(data, ()), "auto", 1).get_info()
    except (RuntimeError, SyntaxError, ValueError) as exc:
        notes.append(f"EXIF and XMP of the AVIF not carried: {exc}")
    icc = _profile(items, notes, grey=pixels.shape[2] < 3)
    meta = screen(icc, exif, xmp, notes)
    return pixels, replace(meta, exif=reset_exif_orientation(meta.exif), xmp=reset_xmp_orientation(meta.xmp))


def _items(data: bytes, name: str, fmt: str) -> Items:
    # The decoders know whether what is cut off at the end belongs to the picture.
    boxes = dict(iso_boxes(data, 0, len(data), name, loose_end=True))
    if b"meta" in boxes:
        return read_items(data, boxes[b"meta"], name)
    if b"moov" in boxes:
        raise UnsupportedFormat(
            f"{name}: expected an {fmt} with a still picture, this one has only a sequence; convert it to PNG"
        )
    raise damaged(name, f"the {fmt} has no meta box")


def _still(data: bytes, hidden: Iterable[int]) -> bytes:
    """``data`` with the major brand ``avif``, so that of an animation only the primary item is read, and with
    a type that libavif ignores at ``hidden``, so that damage in those items is no matter."""
    changed = bytearray(data)
    changed[8:12] = b"avif"
    for at in hidden:
        changed[at : at + 4] = b"skip"
    return bytes(changed)


def _depth(items: Items) -> int:
    """Bits per channel from ``pixi``, else from a codec's configuration; a grid's is that of its tiles."""
    pixi = items.first(b"pixi")
    if len(pixi) > 5 and pixi[4]:
        return max(pixi[5 : 5 + pixi[4]])
    configured: dict[bytes, bytes] = {}
    for kind, body in (*items.properties, *items.all_properties):
        configured.setdefault(kind, body)
    av1 = configured.get(b"av1C", b"")
    if len(av1) >= 3 and av1[2] & 0x40:
        return 12 if av1[2] & 0x20 else 10
    hevc = configured.get(b"hvcC", b"")
    return 8 + (hevc[17] & 7) if len(hevc) > 17 else 8


def _frames(data: bytes, name: str) -> int:
    """Samples of the longest track (``stsz``), 1 for a still picture."""
    frames, todo = 1, [(0, len(data))]
    while todo:
        place = todo.pop()
        for kind, (start, end) in iso_boxes(data, *place, name, loose_end=not place[0]):
            if kind in _CONTAINERS:
                todo.append((start, end))
            elif kind == b"stsz" and end - start >= 12:
                frames = max(frames, int.from_bytes(data[start + 8 : start + 12], "big"))
    return frames


def _profile(items: Items, notes: list[str], *, grey: bool) -> bytes | None:
    """The stored ICC profile, else one for the colours that ``nclx`` describes."""
    if b"tmap" in items.kinds.values():
        notes.append("gain map (HDR) not carried: the base picture kept")
    described = [body for kind, body in items.properties if kind == b"colr"]
    for body in described:
        if body[:4] in (b"prof", b"rICC"):
            return body[4:]
    for body in described:
        if body[:4] == b"nclx":
            icc, note = colour_description.from_cicp(*struct.unpack_from(">HH", body, 4), grey=grey)
            notes += [note] if note else []
            return icc
    return None


def _transformed(
    pixels: npt.NDArray[Any], properties: list[tuple[bytes, bytes]], notes: list[str]
) -> npt.NDArray[Any]:
    """The crop, turns and mirrors among the properties, in their order, as views."""
    for kind, body in properties:
        if kind == b"irot" and body:
            pixels = np.rot90(pixels, body[0] & 3)
        elif kind == b"imir" and body:
            pixels = pixels[:, ::-1] if body[0] & 1 else pixels[::-1]
        elif kind == b"clap":
            pixels = _cropped(pixels, body, notes)
    return pixels


def _cropped(pixels: npt.NDArray[Any], clap: bytes, notes: list[str]) -> npt.NDArray[Any]:
    """The clean aperture (ISO 14496-12, 12.1.4), rounded to whole px as libheif does; what lies outside of
    the picture is not there. One that is no rectangle leaves the whole picture, with a note."""
    height, width = pixels.shape[:2]
    numbers = struct.unpack(">IIIIiIiI", clap) if len(clap) == 32 else (0,) * 8
    if all(numbers[1::2]):
        wide, high, right_by, down_by = (
            Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True)
        )
        left = int(right_by + Fraction(width - 1, 2) - (wide - 1) / 2)
        top = _nearest(down_by + Fraction(height - 1, 2) - (high - 1) / 2)
        right, bottom = _nearest(wide - 1 + left) + 1, _nearest(high - 1 + top) + 1
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if left < right and top < bottom:
            if (right - left, bottom - top) != (width, height):
                shown = f"{right - left}x{bottom - top} of {width}x{height} px"
                notes.append(f"cropped to the file's clean aperture: {shown}")
            return pixels[top:bottom, left:right]
    notes.append("clean aperture (crop) not usable: whole picture kept")
    return pixels


def _nearest(value: Fraction) -> int:
    return int(value + Fraction(1, 2))
