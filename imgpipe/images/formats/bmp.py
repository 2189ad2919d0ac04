"""BMP (Windows 2 to 5, OS/2 1 and 2), read here: no library reads all of its kinds.

Pillow knows few sets of masks, OpenCV takes padding for alpha, imagecodecs has no run-length encoding, and
none takes an encoded picture that ends early, drops alpha that is 0 everywhere, or gives the profile.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.container import Header, Metadata, damaged, dpi_of
from imgpipe.images.metadata import screen

#: Where the information header starts, and its sizes.
_HEADER = 14
_CORE, _INFO, _V2, _V3, _V4, _V5 = 12, 40, 52, 56, 108, 124
_OS2 = {16, 64}
#: Compression: none, masks, masks with alpha, run-length encoding -> bits per pixel.
_PLAIN, _ALPHA_MASKS, _RLE = 0, 6, (1, 2, 4)
_BITS = {0: (1, 2, 4, 8, 16, 24, 32), 1: (8,), 2: (4,), 3: (16, 24, 32), 4: (24,), 6: (16, 24, 32)}
#: What only OS/2 has, and what OS/2 uses for something else.
_ONLY_OS2, _NOT_OS2 = (4,), (3, 6)
#: Red, green, blue, alpha of pixels that state no masks.
_USUAL = {16: (0x7C00, 0x3E0, 0x1F, 0)}
_BYTES = (0xFF0000, 0xFF00, 0xFF, 0)
#: Colour spaces of V4 and V5 headers, as their four letters stand in the file.
_CALIBRATED, _LINKED, _EMBEDDED = b"\0\0\0\0", b"KNIL", b"DEBM"
_METRES_PER_INCH = 0.0254

Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Layout:
    """``start``: of the pixels in the file. ``masks``: red, green, blue, alpha, from 16 bits per pixel on.
    ``palette``: (2^bits, 1 or 3), up to 8 bits per pixel."""

    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    start: int
    masks: tuple[int, ...]
    palette: Bytes
    dpi: tuple[float, float] | None


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header, resolution and, from a V5 header, the profile.

    Raises :class:`DecodeError` for a broken structure and :class:`UnsupportedFormat` for pixels that are
    packed as a JPEG, a PNG or a fax, or have other numbers of bits than 1, 2, 4, 8, 16, 24 and 32.
    """
    layout = _layout(data, name)
    depth = 16 if max(mask.bit_count() for mask in layout.masks) > 8 else 8
    icc, notes = _profile(data)
    header = Header("BMP", layout.width, layout.height, bit_depth=depth)
    return header, replace(screen(icc, None, None, notes), dpi=layout.dpi)


def read_pixels(data: bytes, name: str) -> tuple[Samples, tuple[str, ...]]:
    """((height, width, 1, 3 or 4) uint8, for masks of more than 8 bits uint16; notes).

    A grey palette gives grey, others RGB. Alpha is straight; where it is 0 everywhere, the picture is opaque:
    programs that leave the byte unused state its mask all the same. Pixels that a run-length encoded picture
    skips have colour 0. Raises :class:`DecodeError` where pixels are missing.
    """
    layout = _layout(data, name)
    notes: tuple[str, ...] = ()
    if layout.compression in _RLE:
        stored, notes = _runs(data, layout, name)
    else:
        stored = _rows(data, layout, name)
    stored = stored if layout.top_down else stored[::-1]
    if layout.bits <= 8:
        return layout.palette[stored], notes
    samples = _unmasked(stored.reshape(layout.height, layout.width, -1), layout.masks)
    if samples.shape[2] == 4 and not samples[..., 3].any():
        return samples[..., :3], ("alpha of the BMP is 0 everywhere: taken for opaque",)
    return samples, notes


def _layout(data: bytes, name: str) -> _Layout:
    start, size = struct.unpack_from("<II", data, 10)
    # A header of 16 bytes leaves out the later fields, which are 0 then.
    head = data[_HEADER : _HEADER + min(size, _INFO)].ljust(_INFO, b"\0")
    sides = "HH" if size == _CORE else "ii"
    width, height, _, bits, packing, _, *per_metre, colours = struct.unpack_from(f"<{sides}HHIIiiI", head, 4)
    if width <= 0 or not height:
        raise damaged(name, f"the BMP says {width}x{height} px")
    if bits not in _BITS.get(packing, ()) or packing in (_NOT_OS2 if size in _OS2 else _ONLY_OS2):
        raise UnsupportedFormat(
            f"{name}: expected a BMP of 1, 2, 4, 8, 16, 24 or 32 bits, plain, with masks or run-length "
            f"encoded, got {bits} bits, compression {packing}, a header of {size} bytes; convert it"
        )
    masks, end = _masks(data, size, bits, packing)
    if any((mask + (mask & -mask)) & mask for mask in masks):
        raise UnsupportedFormat(f"{name}: expected masks without gaps, got {masks}; convert the BMP to PNG")
    entry_bytes = 3 if size == _CORE else 4
    if start < end + (bits <= 8):  # no room for the palette
        start = end + entry_bytes * (colours or 1 << bits) * (bits <= 8)
    palette = np.zeros((1, 3), np.uint8)
    if bits <= 8:
        count = min(colours or 1 << bits, 1 << bits, (start - end) // entry_bytes)
        palette = _palette(data[end : end + count * entry_bytes], entry_bytes, 1 << bits, name)
    dpi = dpi_of(*(value * _METRES_PER_INCH for value in per_metre))
    return _Layout(width, abs(height), height < 0, bits, packing, start, masks, palette, dpi)


def _masks(data: bytes, size: int, bits: int, compression: int) -> tuple[tuple[int, ...], int]:
    """The masks, and where the headers end. Masks stand in headers from V2 on, else behind them."""
    end = _HEADER + size
    stated = struct.unpack("<4I", data[_HEADER + _INFO : _HEADER + _INFO + 16].ljust(16, b"\0"))
    usual = _USUAL.get(bits, _BYTES)
    if bits <= 8 or size in (_CORE, *_OS2) or (compression == _PLAIN and size < _V4):
        return usual, end
    if size < _V2:
        end += 16 if compression == _ALPHA_MASKS else 12
    alpha = stated[3] if size >= _V3 or (size < _V2 and compression == _ALPHA_MASKS) else 0
    # Without compression 3 or 6 a V4 header's masks of colours do not count, that of alpha does.
    colours = stated[:3] if compression != _PLAIN and any(stated[:3]) else usual[:3]
    return tuple(mask & ((1 << bits) - 1) for mask in (*colours, alpha)), end


def _palette(stored: bytes, entry_bytes: int, size: int, name: str) -> Bytes:
    """(size, 1) where all colours are grey, else (size, 3); missing entries are black."""
    entries = np.frombuffer(stored[: len(stored) // entry_bytes * entry_bytes], np.uint8)
    if not entries.size:
        raise damaged(name, "the BMP has no palette")
    colours = np.zeros((size, 3), np.uint8)
    colours[: entries.size // entry_bytes] = entries.reshape(-1, entry_bytes)[:, 2::-1]
    return colours[:, :1] if (colours == colours[:, :1]).all() else colours


def _rows(data: bytes, layout: _Layout, name: str) -> Bytes:
    """(height, bytes of a row without its padding), with a palette (height, width), as the rows follow in
    the file."""
    row_bits = layout.width * layout.bits
    stride, row_bytes = (row_bits + 31) // 32 * 4, (row_bits + 7) // 8
    needed = stride * (layout.height - 1) + row_bytes  # the last padding may be missing
    if layout.start + needed > len(data):
        raise damaged(
            name, f"the BMP's pixels take {needed} bytes from byte {layout.start}, it has {len(data)}"
        )
    stored = np.frombuffer(data, np.uint8, needed, layout.start)
    rows = np.lib.stride_tricks.as_strided(stored, (layout.height, row_bytes), (stride, 1))
    if layout.bits >= 8:
        return rows
    indices: Bytes = imagecodecs.packints_decode(rows.tobytes(), "B", layout.bits, runlen=layout.width)
    return indices.reshape(layout.height, layout.width)


def _runs(data: bytes, layout: _Layout, name: str) -> tuple[Bytes, tuple[str, ...]]:
    """((height, width * bytes per pixel), notes); raises :class:`DecodeError` where pixels are missing.

    A run of one colour ends with its row, as everywhere.
    """
    width, height, bits = layout.width, layout.height, layout.bits
    step = 3 if bits == 24 else 1
    out = bytearray(width * height * step)
    at, x, y, surplus = layout.start, 0, 0, 0
    while y < height:
        if at + 2 > len(data):
            if y < height - 1 or x < width:
                raise damaged(name, f"the run-length encoded BMP ends in row {y + 1} of {height}")
            break
        (count, code), size = data[at : at + 2], 0
        if count:  # so many pixels of one colour, or of two in turn
            pixels, at = _expanded(data[at + 1 : at + 1 + step], bits) * count, at + 1 + step
        elif code > 2:  # so many pixels as they are, padded to an even number of bytes
            count, size = code, -(-code * bits // 8)
            pixels, at = _expanded(data[at + 2 : at + 2 + size], bits), at + 2 + size + size % 2
        elif code == 2:
            x, y, at = x + data[at + 2], y + data[at + 3], at + 4
            continue
        elif code == 1:
            break
        else:
            x, y, at = 0, y + 1, at + 2
            continue
        # Some writers fill up pairs.
        if len(pixels) < count * step or (size and x + count > width + 1):
            raise damaged(name, f"a run of the BMP goes past the end of row {y + 1} or of the file")
        start, fitting = (y * width + x) * step, pixels[: min(count, max(width - x, 0)) * step]
        out[start : start + len(fitting)] = fitting
        surplus += count - len(fitting) // step > 1
        x += count
    notes = (f"{surplus} runs of the BMP go past the end of their row: cut off",) if surplus else ()
    return np.frombuffer(out, np.uint8).reshape(height, width * step), notes


def _expanded(packed: bytes, bits: int) -> bytes:
    """One byte for each pixel of 4 bits; others as they are."""
    return imagecodecs.packints_decode(packed, "B", 4).tobytes() if bits == 4 and packed else packed


def _unmasked(samples: Bytes, masks: tuple[int, ...]) -> Samples:
    """(height, width, bytes per pixel) -> (height, width, 3, or 4 where there is a mask of alpha)."""
    masks = masks if masks[3] else masks[:3]
    if all(mask in (0xFF, 0xFF00, 0xFF0000, 0xFF000000) for mask in masks):
        return samples[..., [mask.bit_length() // 8 - 1 for mask in masks]]
    spare = ((0, 0), (0, 0), (0, 4 - samples.shape[2]))
    words = np.ascontiguousarray(np.pad(samples, spare)).view("<u4")[..., 0]
    full = 65535 if max(mask.bit_count() for mask in masks) > 8 else 255
    result = np.zeros((*words.shape, len(masks)), np.uint16 if full == 65535 else np.uint8)
    for index, mask in enumerate(masks):
        if mask:
            lowest = (mask & -mask).bit_length() - 1 + max(mask.bit_count() - 16, 0)  # 16 bits are kept
            top = mask >> lowest
            values = (words & np.uint32(mask)) >> np.uint32(lowest)
            result[..., index] = (values * np.uint32(full) + np.uint32(top // 2)) // np.uint32(top)
    return result


def _profile(data: bytes) -> tuple[bytes | None, list[str]]:
    """The profile of a V5 header, and notes on colours that are stated otherwise."""
    size = int.from_bytes(data[_HEADER : _HEADER + 4], "little")
    if size < _V4:
        return None, []
    space = data[_HEADER + 56 : _HEADER + 60]
    if space == _CALIBRATED and any(data[_HEADER + 60 : _HEADER + _V4]):
        return None, ["primaries and gamma of the BMP not carried: shown as sRGB"]
    if size < _V5 or space not in (_LINKED, _EMBEDDED):
        return None, []
    if space == _LINKED:
        return None, ["ICC profile not carried: the BMP only names a file of it"]
    at, length = struct.unpack_from("<II", data, _HEADER + 112)
    profile = data[_HEADER + at : _HEADER + at + length]
    if len(profile) < length or not length:
        return None, [f"ICC profile of {length} bytes not carried: it is not within the BMP"]
    return profile, []
