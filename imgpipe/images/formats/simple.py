"""GIF (GIF89a) and BMP headers; their metadata is not carried."""

from __future__ import annotations

import struct

from imgpipe.images.container import Header, damaged


def read_gif(data: bytes, name: str) -> Header:
    """The screen, enlarged to the first frame where that is larger, and the number of frames."""
    if len(data) < 13:
        raise damaged(name, f"the GIF ends at byte {len(data)}")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C and at + 10 <= len(data):
            left, top, w, h, local = struct.unpack_from("<HHHHB", data, at + 1)
            if not frames:
                width, height = max(width, left + w), max(height, top + h)
            frames += 1
            at = _skip_blocks(data, at + 11 + (3 << ((local & 7) + 1) if local & 0x80 else 0))
        elif data[at] == 0x21:
            at = _skip_blocks(data, at + 2)
        elif data[at] == 0:
            at += 1
        else:
            break
    if not frames or not width or not height:
        raise damaged(name, f"the GIF has {frames} frames of {width}x{height} px")
    return Header("GIF", width, height, frames)


def _skip_blocks(data: bytes, at: int) -> int:
    """The offset behind a row of sub-blocks, which ends with an empty one."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def read_bmp(data: bytes, name: str) -> Header:
    """The size from the core (12 bytes) or any later information header."""
    if len(data) < 26:
        raise damaged(name, f"the BMP ends at byte {len(data)}")
    core = int.from_bytes(data[14:18], "little") == 12
    width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
    if width <= 0 or not height:
        raise damaged(name, f"the BMP says {width}x{height} px")
    return Header("BMP", width, abs(height))
