"""The items of an AVIF or HEIF file (ISO 14496-12, 8.11; ISO 23008-12): the primary one, its properties, and
the blocks of metadata that describe it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from imgpipe.images.container import damaged, iso_boxes
from imgpipe.images.metadata import MAX_BLOCK_BYTES

_XMP_TYPE = b"application/rdf+xml"


@dataclass(slots=True)
class Items:
    """``properties``: (kind, body) of the primary item's, in the order of their association.

    ``all_properties``: every property in the file. ``exif``, ``xmp``: the stored blocks that describe the
    primary item. ``kinds``: the four-letter types of the items, with the offsets where they stand.
    """

    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    all_properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    kinds: list[tuple[bytes, int]] = field(default_factory=list)
    exif: bytes | None = None
    xmp: bytes | None = None

    def first(self, kind: bytes) -> bytes:
        """The first property of a kind, ``b""`` without one."""
        return next((body for found, body in self.properties if found == kind), b"")


def read_items(data: bytes, meta: tuple[int, int], name: str) -> Items:
    """The items of the ``meta`` box whose body is at the given offsets; raises :class:`DecodeError`."""
    boxes = dict(iso_boxes(data, meta[0] + 4, meta[1], name))
    if b"pitm" not in boxes or b"iprp" not in boxes:
        raise damaged(name, "the file names no primary picture")
    start, end = boxes[b"pitm"]
    primary = int.from_bytes(data[start + 4 : end], "big")
    items = _with_properties(data, boxes[b"iprp"], primary, name)
    kinds = _kinds(data, boxes.get(b"iinf"), name)
    items.kinds = [(kind, at) for kind, _, at in kinds.values()]
    describing = _describing(data, boxes.get(b"iref"), primary, name)
    for item, (kind, content_type, _) in kinds.items():
        if item not in describing:
            continue
        if kind == b"Exif" and items.exif is None:
            block = _stored(data, boxes, item)
            # Its first four bytes say where in the rest the TIFF header is.
            items.exif = block and (block[4 + int.from_bytes(block[:4], "big") :] or block)
        elif kind == b"mime" and content_type == _XMP_TYPE and items.xmp is None:
            items.xmp = _stored(data, boxes, item)
    return items


def _with_properties(data: bytes, box: tuple[int, int], primary: int, name: str) -> Items:
    items = Items()
    wanted: list[int] = []
    for kind, (start, end) in iso_boxes(data, *box, name):
        if kind == b"ipco":
            items.all_properties = [(k, data[s:e]) for k, (s, e) in iso_boxes(data, start, end, name)]
        elif kind == b"ipma":
            wanted = _associations(data[start:end]).get(primary, wanted)
    listed = items.all_properties
    items.properties = [listed[index - 1] for index in wanted if 1 <= index <= len(listed)]
    return items


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


def _kinds(data: bytes, box: tuple[int, int] | None, name: str) -> dict[int, tuple[bytes, bytes, int]]:
    """Item -> (type, content type, offset of the type) from ``iinf``."""
    if box is None:
        return {}
    found: dict[int, tuple[bytes, bytes, int]] = {}
    first = box[0] + (6 if data[box[0]] == 0 else 8)
    for kind, (start, end) in iso_boxes(data, first, box[1], name):
        if kind != b"infe" or data[start] < 2:
            continue
        wide = 4 if data[start] >= 3 else 2
        item = int.from_bytes(data[start + 4 : start + 4 + wide], "big")
        at = start + 6 + wide
        words = data[at + 4 : end].split(b"\0")
        found.setdefault(item, (data[at : at + 4], words[1] if len(words) > 1 else b"", at))
    return found


def _describing(data: bytes, box: tuple[int, int] | None, primary: int, name: str) -> set[int]:
    """The items that say, by ``cdsc`` in ``iref``, that they describe the primary one."""
    if box is None:
        return set()
    code, size = (">H", 2) if data[box[0]] == 0 else (">I", 4)
    found: set[int] = set()
    for kind, (start, end) in iso_boxes(data, box[0] + 4, box[1], name):
        if kind != b"cdsc":
            continue
        values = [v for (v,) in struct.iter_unpack(code, data[start : start + size])]
        count = struct.unpack_from(">H", data, start + size)[0]
        targets = data[start + size + 2 : min(end, start + size + 2 + size * count)]
        if any(v == primary for (v,) in struct.iter_unpack(code, targets[: len(targets) // size * size])):
            found.update(values)
    return found


def _stored(data: bytes, boxes: dict[bytes, tuple[int, int]], wanted: int) -> bytes | None:
    """The bytes of an item as ``iloc`` places them, in the file or in ``idat``; at most a little more than
    :data:`MAX_BLOCK_BYTES`. ``None`` where the item has no place that is known here."""
    if b"iloc" not in boxes:
        return None
    at = boxes[b"iloc"][0]
    version = data[at]
    offset_size, length_size, base_size = data[at + 4] >> 4, data[at + 4] & 15, data[at + 5] >> 4
    index_size = data[at + 5] & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    count = int.from_bytes(data[at + 6 : at + 6 + wide], "big")
    at += 6 + wide
    for _ in range(count):
        item, at = _number(data, at, wide)
        method, at = _number(data, at, 2) if version in (1, 2) else (0, at)
        base, at = _number(data, at + 2, base_size)
        extents, at = _number(data, at, 2)
        if item != wanted:
            at += extents * (index_size + offset_size + length_size)
            continue
        space = {0: (0, len(data)), 1: boxes.get(b"idat", (0, 0))}.get(method & 15)
        return _joined(data, at, extents, (index_size, offset_size, length_size), base, space)
    return None


def _joined(
    data: bytes,
    at: int,
    extents: int,
    sizes: tuple[int, int, int],
    base: int,
    space: tuple[int, int] | None,
) -> bytes | None:
    if space is None:
        return None
    parts: list[bytes] = []
    total = 0
    for _ in range(extents):
        offset, after = _number(data, at + sizes[0], sizes[1])
        length, at = _number(data, after, sizes[2])
        start = space[0] + base + offset
        parts.append(data[start : min(start + length if length else space[1], space[1])])
        total += len(parts[-1])
        if total > MAX_BLOCK_BYTES:
            break
    return b"".join(parts)


def _number(data: bytes, at: int, size: int) -> tuple[int, int]:
    """A big-endian number of ``size`` bytes and the offset behind it; raises ``IndexError`` past the end."""
    if at + size > len(data):
        raise IndexError(f"{size} bytes expected at byte {at}")
    return int.from_bytes(data[at : at + size], "big"), at + size
