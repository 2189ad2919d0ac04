"""TIFF directories (TIFF 6.0, BigTIFF), of TIFF files and of EXIF blocks, which are small ones (CIPA DC-008).

What is carried are the fields' own bytes, which tifffile and Pillow do not give, and a file is checked here
before a decoder sees it. Each read is bounded by the data: loops and overlapping values end or are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Self

from imgpipe.errors import DecodeError
from imgpipe.images.container import damaged


class Tag(IntEnum):
    """The fields that are read or written one by one."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_SIZES = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR = 284
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    EXTRA_SAMPLES = 338
    JPEG_OFFSET = 513
    JPEG_SIZE = 514
    XMP = 700
    ICC = 34675
    EXIF_DIRECTORY = 34665
    GPS_DIRECTORY = 34853
    EXIF_WIDTH = 40962
    EXIF_HEIGHT = 40963
    INTEROPERABILITY = 40965


class Kind(IntEnum):
    """The types that are told apart; those from ``BIGTIFF`` on are BigTIFF's own."""

    BYTE = 1
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    BIGTIFF = 16


#: Field types -> bytes per value.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}
_INTEGERS = {Kind.BYTE: "B", Kind.SHORT: "H", Kind.LONG: "I", 13: "I", 16: "Q"}
_MAX_PAGES = 10_000
_MAX_FIELDS = 65_535


class Field(NamedTuple):
    """One field of a directory: its type, the number of its values, and these in the file's byte order."""

    kind: int
    n: int
    value: bytes

    @classmethod
    def of(cls, order: str, kind: int, *values: int) -> Self:
        """A field of integers; a RATIONAL's values are numerator and denominator."""
        if kind == Kind.RATIONAL:
            return cls(kind, len(values) // 2, struct.pack(f"{order}{len(values)}I", *values))
        return cls(kind, len(values), struct.pack(f"{order}{len(values)}{_INTEGERS[kind]}", *values))


Fields = dict[int, Field]


class TiffBytes:
    """A TIFF file or an EXIF block, and how its numbers are stored. ``order`` is ``<`` or ``>``, ``first_at``
    the stated offset of the first directory. Raises :class:`DecodeError` where the data ends before that."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name
        self.order = "<" if data[:2] == b"II" else ">"
        self.is_classic = data[2:4] not in (b"+\0", b"\0+")
        self._offset, self._count, self._field = ("I", "H", "HHI") if self.is_classic else ("Q", "Q", "HHQ")
        self._inline_bytes = struct.calcsize(self._offset)
        self._field_bytes = struct.calcsize("=" + self._field) + self._inline_bytes
        self.first_at = self.number(4 if self.is_classic else 8)

    def first(self) -> Fields:
        """The first directory; raises :class:`DecodeError` for a broken structure."""
        return self.directory(self.first_at)

    def directory(self, at: int) -> Fields:
        """The directory at an offset, the first field of each tag.

        Fields of unknown types and with values outside of the file are left out. Raises :class:`DecodeError`
        where the directory is outside of the file, or its values add up to more bytes than the file has.
        """
        self._next_directory(at)
        fields: Fields = {}
        total = 0
        for tag, kind, count, value_at in self._entries(at):
            length = _TYPE_SIZES.get(kind, 0) * count
            if not 0 < length <= len(self._data):
                continue
            if length > self._inline_bytes:
                value_at = self.number(value_at)
            value = self._data[value_at : value_at + length]
            if len(value) == length:
                fields.setdefault(tag, Field(kind, count, value))
                total += length
            if total > len(self._data):  # values share bytes: a few fields could ask for any amount
                raise damaged(
                    self._name, f"the TIFF directory at byte {at} claims more values than the file has"
                )
        return fields

    def single(
        self, at: int, tag: int, kinds: tuple[int, ...] = (Kind.SHORT, Kind.LONG)
    ) -> tuple[int, int] | None:
        """(type, offset of its 4 bytes) of the first single value of one of these types in the directory at
        ``at``, which may be cut off; ``None`` where there is none."""
        if not 8 <= at <= len(self._data) - 2:
            return None
        for one, kind, count, value_at in self._entries(at):
            if one == tag and kind in kinds and count == 1:
                return kind, value_at
        return None

    def single_number(self, at: int, tag: int) -> int | None:
        """The value of a SHORT or LONG in the directory at ``at``; ``None`` where there is none."""
        found = self.single(at, tag)
        return None if found is None else self.number(found[1], found[0])

    def count_pages(self) -> int:
        """Directories in the chain, each counted once, up to the first broken one; at most 10,000."""
        seen: set[int] = set()
        at = self.first_at
        while at and at not in seen and len(seen) < _MAX_PAGES:
            try:
                following = self._next_directory(at)
            except DecodeError:
                break
            seen.add(at)
            at = following
        return len(seen)

    def numbers(self, fields: Fields, tag: int) -> tuple[int, ...]:
        """A field's integers; empty where it is absent or holds no integers."""
        field = fields.get(tag)
        if field is None or field.kind not in _INTEGERS:
            return ()
        return struct.unpack(f"{self.order}{field.n}{_INTEGERS[field.kind]}", field.value)

    def number(self, at: int, kind: int | None = None) -> int:
        """The integer of a type at an offset, by default one that is an offset itself.

        Raises :class:`DecodeError` outside of the data.
        """
        value: int = self._unpack(self._offset if kind is None else _INTEGERS[kind], at)[0]
        return value

    def end_of(self, at: int) -> int:
        """Offset behind the last field of the directory at ``at``, where the next one's offset stands."""
        return at + struct.calcsize("=" + self._count) + self._field_bytes * self._unpack(self._count, at)[0]

    def _entries(self, at: int) -> Iterator[tuple[int, int, int, int]]:
        """(tag, type, number of values, offset of the value, or of its offset) of the fields in the file."""
        start = at + struct.calcsize("=" + self._count)
        end = min(self.end_of(at), len(self._data))
        for field_at in range(start, end - self._field_bytes + 1, self._field_bytes):
            tag, kind, count = self._unpack(self._field, field_at)
            yield tag, kind, count, field_at + self._field_bytes - self._inline_bytes

    def _next_directory(self, at: int) -> int:
        """The offset of the directory behind the one at ``at``, 0 for none; raises :class:`DecodeError`."""
        count = self._unpack(self._count, at)[0]
        if at < 8 or count > _MAX_FIELDS:
            raise damaged(self._name, f"the TIFF directory at byte {at} with {count} fields is impossible")
        return self.number(self.end_of(at))

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + form, self._data, at)
        except (struct.error, OverflowError) as exc:
            raise damaged(
                self._name, f"the TIFF has {len(self._data)} bytes and its structure goes on at byte {at}"
            ) from exc


def pack_head(order: str, at: int) -> bytes:
    """The first eight bytes of a classic TIFF whose first directory is at ``at``."""
    return struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, at)


def pack_directory(order: str, fields: Fields, at: int) -> bytes:
    """A directory to stand at offset ``at``, with its values behind it; no further one follows."""
    head, spill = bytearray(struct.pack(order + "H", len(fields))), bytearray()
    spill_at = at + 2 + 12 * len(fields) + 4
    for tag, (kind, n, value) in sorted(fields.items()):
        head += struct.pack(order + "HHI", tag, kind, n)
        if len(value) <= 4:
            head += value.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", spill_at + len(spill))
            spill += value + b"\0" * (len(value) % 2)
    return bytes(head + b"\0\0\0\0" + spill)
