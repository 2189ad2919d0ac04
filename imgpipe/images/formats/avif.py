"""AVIF and HEIF containers (ISO 14496-12, ISO 23008-12): the primary item's header."""

from __future__ import annotations

import struct

from imgpipe.images.container import Header, damaged, iso_boxes

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}

#: imir axis or None -> EXIF orientation that looks the same, by irot's steps of 90 degrees anticlockwise.
#: The transforms are applied in the order of their association; every writer puts irot before imir.
_ORIENTATION: dict[int | None, tuple[int, int, int, int]] = {
    None: (1, 8, 3, 6),
    0: (4, 5, 2, 7),
    1: (2, 7, 4, 5),
}


def read_header(data: bytes, name: str, fmt: str) -> Header:
    """Size, depth, orientation and number of frames; raises :class:`DecodeError` for a broken structure."""
    meta = next((body for kind, body in iso_boxes(data, 0, len(data), name) if kind == b"meta"), None)
    if meta is None:
        raise damaged(name, f"the {fmt} has no meta box")
    properties = _primary_properties(data, meta, name)
    if b"ispe" not in properties or len(properties[b"ispe"]) < 12:
        raise damaged(name, f"the {fmt} does not say how large its picture is")
    width, height = struct.unpack_from(">II", properties[b"ispe"], 4)
    if not width or not height:
        raise damaged(name, f"the {fmt} says {width}x{height} px")
    turn = properties.get(b"irot", b"\0")[0] & 3
    mirror = properties[b"imir"][0] & 1 if b"imir" in properties else None
    frames = _frames(data, name)
    return Header(fmt, width, height, frames, _depth(properties), _ORIENTATION[mirror][turn])


def _primary_properties(data: bytes, meta: tuple[int, int], name: str) -> dict[bytes, bytes]:
    """Kind -> body of the properties associated with the primary item, the first of each kind."""
    inner = dict(iso_boxes(data, meta[0] + 4, meta[1], name))
    if b"pitm" not in inner or b"iprp" not in inner:
        raise damaged(name, "the file names no primary picture")
    start, end = inner[b"pitm"]
    primary = int.from_bytes(data[start + 4 : end], "big")
    listed: list[tuple[bytes, bytes]] = []
    wanted: list[int] = []
    for kind, (start, end) in iso_boxes(data, *inner[b"iprp"], name):
        if kind == b"ipco":
            listed = [(k, data[s:e]) for k, (s, e) in iso_boxes(data, start, end, name)]
        elif kind == b"ipma":
            wanted = _associations(data[start:end]).get(primary, wanted)
    found: dict[bytes, bytes] = {}
    for index in wanted:
        if 1 <= index <= len(listed):
            found.setdefault(*listed[index - 1])
    return {kind: body for kind, body in found.items() if body}


def _associations(body: bytes) -> dict[int, list[int]]:
    """Item -> property numbers (from 1), from an ``ipma`` box."""
    wide_item, wide_index = body[0] >= 1, body[3] & 1
    count, at = struct.unpack_from(">I", body, 4)[0], 8
    found: dict[int, list[int]] = {}
    for _ in range(count):
        item = struct.unpack_from(">I" if wide_item else ">H", body, at)[0]
        at += 4 if wide_item else 2
        number = body[at]
        at += 1
        if wide_index:
            indices = [i & 0x7FFF for i in struct.unpack_from(f">{number}H", body, at)]
        else:
            indices = [i & 0x7F for i in struct.unpack_from(f">{number}B", body, at)]
        at += number * (2 if wide_index else 1)
        found.setdefault(item, indices)
    return found


def _depth(properties: dict[bytes, bytes]) -> int:
    """Bits per channel from ``pixi``, else from the codec's configuration."""
    pixi = properties.get(b"pixi", b"")
    if len(pixi) > 5 and pixi[4]:
        return max(pixi[5 : 5 + pixi[4]])
    av1 = properties.get(b"av1C", b"")
    if len(av1) >= 3 and av1[2] & 0x40:
        return 12 if av1[2] & 0x20 else 10
    hevc = properties.get(b"hvcC", b"")
    return 8 + (hevc[17] & 7) if len(hevc) > 17 else 8


def _frames(data: bytes, name: str) -> int:
    """Samples of the longest track (``stsz``), 1 for a still picture."""
    frames, todo = 1, [(0, len(data))]
    while todo:
        for kind, (start, end) in iso_boxes(data, *todo.pop(), name):
            if kind in _CONTAINERS:
                todo.append((start, end))
            elif kind == b"stsz" and end - start >= 12:
                frames = max(frames, int.from_bytes(data[start + 8 : start + 12], "big"))
    return frames
