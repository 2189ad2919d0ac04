"""TIFF directories (TIFF 6.0, BigTIFF) as bytes: header, metadata, and EXIF blocks.

tifffile decodes the pixels (:mod:`imgpipe.images.formats.tiff_pixels`). Its values of fields are parsed ones,
and what is carried is the fields' own bytes, so they are read here; and it follows loops of directories and
loads any number of overlapping values, so a file is checked here before tifffile sees it.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any, NamedTuple

from imgpipe.errors import DecodeError
from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.metadata import EXIF_DIRECTORY_TAG, ORIENTATION_TAG, orientation_of, screen

#: Field types -> bytes per value.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_BYTE, _SHORT, _LONG = 1, 3, 4
_FIRST_BIGTIFF_TYPE = 16

_WIDTH, _HEIGHT, _BITS, _XMP, _ICC = 256, 257, 258, 700, 34675
_OFFSETS, _SIZES, _TILE_OFFSETS, _TILE_SIZES = 273, 279, 324, 325
_COLOUR_TAGS = {301, 318, 319}
_GPS_DIRECTORY_TAG, _INTEROPERABILITY_TAG = 34853, 40965
#: Fields of the first directory that describe the picture and not how it is stored.
_DESCRIPTIVE_TAGS = {
    *(270, 271, 272, ORIENTATION_TAG, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432),
    *(40091, 40092, 40093, 40094, 40095),
}
#: Fields that say how the pixels are stored.
_LAYOUT_TAGS = {*range(254, 267), *range(277, 280), 284, 292, 317, *range(322, 326), 338, 339, 530, 531}
_MAX_PAGES = 10_000
_MAX_FIELDS = 65_535


class Field(NamedTuple):
    """One field of a directory: its type, the number of its values, and these in the file's byte order."""

    kind: int
    n: int
    value: bytes


Fields = dict[int, Field]


class TiffBytes:
    """A TIFF file or an EXIF block, and how its numbers are stored. ``order`` is ``<`` or ``>``."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name
        self.order = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\0", b"\0+")
        self.is_classic = not big
        self._offset, self._count, self._field = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
        self._first_at = self._unpack(self._offset, 8 if big else 4)[0]

    def first(self) -> Fields:
        """The first directory; raises :class:`DecodeError` for a broken structure."""
        return self.directory(self._first_at)

    def directory(self, at: int) -> Fields:
        """The directory at an offset, the first field of each tag.

        Fields of unknown types and with values outside of the file are left out. Raises :class:`DecodeError`
        where the directory is outside of the file, or its values add up to more bytes than the file has.
        """
        start, end = self._extent(at)
        size = struct.calcsize(self.order + self._field)
        fields: Fields = {}
        total = 0
        for field_at in range(start, end, size):
            tag, kind, count, inline = self._unpack(self._field, field_at)
            length = _TYPE_SIZES.get(kind, 0) * count
            if not 0 < length <= len(self._data):
                continue
            value = inline[:length]
            if length > len(inline):
                value_at = struct.unpack(self.order + self._offset, inline)[0]
                value = self._data[value_at : value_at + length]
            if len(value) == length:
                fields.setdefault(tag, Field(kind, count, value))
                total += length
            if total > len(self._data):  # values share bytes: a few fields could ask for any amount
                raise damaged(
                    self._name, f"the TIFF directory at byte {at} claims more values than the file has"
                )
        return fields

    def count_pages(self) -> int:
        """Directories in the chain, each counted once, up to the first broken one; at most 10,000."""
        seen: set[int] = set()
        at = self._first_at
        while at and at not in seen and len(seen) < _MAX_PAGES:
            try:
                end = self._extent(at)[1]
            except DecodeError:
                break
            seen.add(at)
            at = self._unpack(self._offset, end)[0]
        return len(seen)

    def numbers(self, fields: Fields, tag: int) -> tuple[int, ...]:
        """A field's integers; empty where it is absent or holds no integers."""
        field = fields.get(tag)
        if field is None or field.kind not in _INTEGERS:
            return ()
        return struct.unpack(f"{self.order}{field.n}{_INTEGERS[field.kind]}", field.value)

    def with_strips(self, strips: list[bytes]) -> bytes:
        """The first picture of a classic TIFF with other strips or tiles, packed in the same way."""
        fields = self.first()
        places, sizes = (_TILE_OFFSETS, _TILE_SIZES) if _TILE_OFFSETS in fields else (_OFFSETS, _SIZES)
        lengths = [len(strip) for strip in strips]
        starts = [8 + before for before in itertools.accumulate([0, *lengths[:-1]])]
        for tag, values in ((places, starts), (sizes, lengths)):
            fields[tag] = Field(_LONG, len(values), struct.pack(f"{self.order}{len(values)}I", *values))
        return self.with_directory(b"".join([self._data[:8], *strips]), fields)

    def with_directory(self, data: bytes, fields: Fields) -> bytes:
        """``data``, a classic TIFF, with another first directory at its end and no further one."""
        head = data[:4] + struct.pack(self.order + "I", len(data))
        return head + data[8:] + pack_directory(self.order, fields, len(data))

    def _extent(self, at: int) -> tuple[int, int]:
        """Offsets of a directory's first field and of the next directory's offset behind its last one."""
        count = self._unpack(self._count, at)[0]
        start = at + struct.calcsize(self.order + self._count)
        end = start + struct.calcsize(self.order + self._field) * count
        if at < 8 or count > _MAX_FIELDS:
            raise damaged(self._name, f"the TIFF directory at byte {at} with {count} fields is impossible")
        self._unpack(self._offset, end)
        return start, end

    def _unpack(self, form: str, at: int) -> tuple[Any, ...]:
        try:
            return struct.unpack_from(self.order + form, self._data, at)
        except (struct.error, OverflowError) as exc:
            raise damaged(
                self._name, f"the TIFF has {len(self._data)} bytes and its structure goes on at byte {at}"
            ) from exc


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure."""
    file = TiffBytes(data, name)
    fields = file.first()
    width, height = (next(iter(file.numbers(fields, tag)), 0) for tag in (_WIDTH, _HEIGHT))
    if not width or not height:
        raise damaged(name, "the TIFF does not say how large its picture is")
    pages = file.count_pages()
    notes = [f"several pages: first of {pages} kept"] if pages > 1 else []
    if _ICC not in fields and fields.keys() & _COLOUR_TAGS:
        notes.append("colour description of the TIFF (curves, white point or primaries) not carried")
    icc, xmp = (fields[tag].value if tag in fields else None for tag in (_ICC, _XMP))
    meta = screen(icc, _collect_exif(file, fields), xmp, notes)
    depth = max(file.numbers(fields, _BITS), default=1)
    return Header("TIFF", width, height, pages, depth, orientation_of(meta.exif)), meta


def _collect_exif(file: TiffBytes, fields: Fields) -> bytes | None:
    """An EXIF block of the descriptive fields and sub-directories; ``None`` where there are none.

    A TIFF keeps them among the fields of its pixels (CIPA DC-008, 4.5), so the block is put together anew:
    the same tags, types and bytes, other offsets.
    """
    main = _classic(fields, _DESCRIPTIVE_TAGS)
    inner = {tag: _sub_directory(file, fields, tag) for tag in (EXIF_DIRECTORY_TAG, _GPS_DIRECTORY_TAG)}
    upright = file.numbers(fields, ORIENTATION_TAG)[:1] in ((), (1,))
    if upright and set(main) <= {ORIENTATION_TAG} and not any(inner.values()):
        return None
    block = b""
    for tag, entries in inner.items():
        if entries:
            main[tag] = Field(4, 1, struct.pack(file.order + "I", 8 + len(block)))
            block += pack_directory(file.order, entries, 8 + len(block))
    magic = struct.pack(f"{file.order}2sHI", b"II" if file.order == "<" else b"MM", 42, 8 + len(block))
    return magic + block + pack_directory(file.order, main, 8 + len(block))


def _sub_directory(file: TiffBytes, fields: Fields, tag: int) -> Fields:
    try:
        found = file.directory(next(iter(file.numbers(fields, tag)), 0))
    except DecodeError:
        return {}  # a pointer to nowhere: there is nothing behind it to lose
    # The interoperability directory would need its own offset; it holds only a conformance mark.
    return _classic(found, found.keys() - {_INTEROPERABILITY_TAG})


def _classic(fields: Fields, wanted: set[int]) -> Fields:
    """The wanted fields whose types are not BigTIFF's own."""
    return {tag: f for tag, f in fields.items() if tag in wanted and f.kind < _FIRST_BIGTIFF_TYPE}


def described(exif: bytes) -> Fields:
    """The descriptive fields of an EXIF block's first directory, and the pointers to its sub-directories.

    Raises :class:`DecodeError` for a broken structure.
    """
    wanted = _DESCRIPTIVE_TAGS | {EXIF_DIRECTORY_TAG, _GPS_DIRECTORY_TAG}
    return _classic(TiffBytes(exif, "EXIF").first(), wanted)


def with_short_fields(data: bytes, name: str) -> bytes:
    """The same file with the numbers of its first directory as SHORT where they are BYTE.

    Readers should take either (TIFF 6.0, section 2); tifffile takes a BYTE for a string.
    """
    file = TiffBytes(data, name)
    fields = file.first()
    odd = {tag: f for tag, f in fields.items() if f.kind == _BYTE and tag in _LAYOUT_TAGS}
    if not odd or not file.is_classic:
        return data
    for tag, field in odd.items():
        fields[tag] = Field(_SHORT, field.n, struct.pack(f"{file.order}{field.n}H", *field.value))
    return file.with_directory(data, fields)


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
