"""GIF (GIF89a): header and the first frame, which Pillow decodes; metadata is not carried."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin

from imgpipe.images.container import Header, damaged

_Frame = tuple[int, int, int, int]


def read(data: bytes, name: str) -> Header:
    """The screen, enlarged to the first frame where that is larger, and the number of frames."""
    width, height, first, frames = _structure(data, name)
    if first is not None:
        left, top, w, h = first
        width, height = max(width, left + w), max(height, top + h)
    if not frames or not width or not height:
        raise damaged(name, f"the GIF has {frames} frames of {width}x{height} px")
    return Header("GIF", width, height, frames)


def read_pixels(data: bytes, name: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """((height, width, 1..4) of the first frame on the screen, notes).

    What the frame leaves free of the screen is transparent, as in every browser: the background colour that
    a GIF names is not shown by any. Raises Pillow's exceptions for damaged data.
    """
    with GifImagePlugin.GifImageFile(io.BytesIO(data)) as opened:
        opened.load()
        level = opened.info.get("transparency")
        if opened.mode == "L" and level is None:
            pixels: npt.NDArray[Any] = np.asarray(opened)[..., None]
        elif opened.mode == "L":
            grey = np.asarray(opened)
            pixels = np.dstack([grey, np.where(grey == level, 0, 255)])
        else:
            pixels = np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    first = _structure(data, name)[2]
    if first is None or first == (0, 0, *pixels.shape[1::-1]):
        return pixels.astype(np.uint8, copy=False), ()
    left, top, width, height = first
    channels = pixels.shape[2] + pixels.shape[2] % 2
    screen = np.zeros((*pixels.shape[:2], channels), np.uint8)
    inside = np.s_[top : top + height, left : left + width]
    screen[inside] = 255
    screen[inside][..., : pixels.shape[2]] = pixels[inside]
    shown = f"{width}x{height} of {pixels.shape[1]}x{pixels.shape[0]} px"
    return screen, (f"the GIF's first frame covers {shown}: transparent around it",)


def _structure(data: bytes, name: str) -> tuple[int, int, _Frame | None, int]:
    """(width, height) of the screen, (left, top, width, height) of the first frame, number of frames."""
    if len(data) < 13:
        raise damaged(name, f"the GIF ends at byte {len(data)}")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    first: _Frame | None = None
    frames = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C and at + 10 <= len(data):
            left, top, w, h, local = struct.unpack_from("<HHHHB", data, at + 1)
            first = first or (left, top, w, h)
            frames += 1
            at = _skip_blocks(data, at + 11 + (3 << ((local & 7) + 1) if local & 0x80 else 0))
        elif data[at] == 0x21:
            at = _skip_blocks(data, at + 2)
        elif data[at] == 0:
            at += 1
        else:
            break
    return width, height, first, frames


def _skip_blocks(data: bytes, at: int) -> int:
    """The offset behind a row of sub-blocks, which ends with an empty one."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
