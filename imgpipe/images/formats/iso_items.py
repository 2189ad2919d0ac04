"""The items of an AVIF or HEIF file (ISO 14496-12, 8.11; ISO 23008-12): the primary one's properties."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from imgpipe.images.container import damaged, iso_boxes

#: An item's entry (infe, version 2 or 3), with its type behind number and protection index.
_ITEM = re.compile(rb"infe(?:\x02.{7}|\x03.{9})(.{4})", re.DOTALL)


@dataclass(slots=True)
class Items:
    """``properties``: (kind, body) of the primary item's, in the order of their association.

    ``all_properties``: every property in the file. ``kinds``: offset -> type, four letters, of each item.
    """

    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    all_properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    kinds: dict[int, bytes] = field(default_factory=dict)

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
    start, end = boxes.get(b"iinf", (0, 0))
    items.kinds = {found.start(1): found[1] for found in _ITEM.finditer(data, start, end)}
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
