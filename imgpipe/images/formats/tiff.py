"""What a TIFF file says of its picture, its metadata as blocks, and files with other directories.

tifffile decodes the pixels (:mod:`imgpipe.images.formats.tiff_pixels`).
"""

from __future__ import annotations

import itertools

from imgpipe.errors import DecodeError
from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.directories import Field, Fields, Kind, Tag, TiffBytes, pack_directory, pack_head
from imgpipe.images.metadata import orientation_of, screen

#: Fields of the first directory that describe the picture and not how it is stored.
_DESCRIPTIVE_TAGS = {
    *(270, 271, 272, Tag.ORIENTATION, Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.RESOLUTION_UNIT),
    *(305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)),
}
#: Curves, white point and primaries.
_COLOUR_TAGS = {301, 318, 319}
#: Fields that say how the pixels are stored.
_LAYOUT_TAGS = {*range(254, 267), *range(277, 280), 284, 292, 317, *range(322, 326), 338, 339, 530, 531}
_SUB_DIRECTORIES = (Tag.EXIF_DIRECTORY, Tag.GPS_DIRECTORY)


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure."""
    file = TiffBytes(data, name)
    fields = file.first()
    width, height = (next(iter(file.numbers(fields, tag)), 0) for tag in (Tag.WIDTH, Tag.HEIGHT))
    if not width or not height:
        raise damaged(name, "the TIFF does not say how large its picture is")
    pages = file.count_pages()
    notes = [f"several pages: first of {pages} kept"] if pages > 1 else []
    if Tag.ICC not in fields and fields.keys() & _COLOUR_TAGS:
        notes.append("colour description of the TIFF (curves, white point or primaries) not carried")
    icc, xmp = (fields[tag].value if tag in fields else None for tag in (Tag.ICC, Tag.XMP))
    meta = screen(icc, _collect_exif(file, fields), xmp, notes)
    depth = max(file.numbers(fields, Tag.BITS), default=1)
    return Header("TIFF", width, height, pages, depth, orientation_of(meta.exif)), meta


def _collect_exif(file: TiffBytes, fields: Fields) -> bytes | None:
    """An EXIF block of the descriptive fields and sub-directories; ``None`` where there are none.

    A TIFF keeps them among the fields of its pixels (CIPA DC-008, 4.5), so the block is put together anew:
    the same tags, types and bytes, other offsets.
    """
    main = _classic(fields, _DESCRIPTIVE_TAGS)
    inner = {tag: _sub_directory(file, fields, tag) for tag in _SUB_DIRECTORIES}
    upright = file.numbers(fields, Tag.ORIENTATION)[:1] in ((), (1,))
    if upright and set(main) <= {Tag.ORIENTATION} and not any(inner.values()):
        return None
    block = b""
    for tag, entries in inner.items():
        if entries:
            main[tag] = Field.of(file.order, Kind.LONG, 8 + len(block))
            block += pack_directory(file.order, entries, 8 + len(block))
    start = 8 + len(block)
    return pack_head(file.order, start) + block + pack_directory(file.order, main, start)


def _sub_directory(file: TiffBytes, fields: Fields, tag: int) -> Fields:
    try:
        found = file.directory(next(iter(file.numbers(fields, tag)), 0))
    except DecodeError:
        return {}  # a pointer to nowhere: there is nothing behind it to lose
    # The interoperability directory would need its own offset; it holds only a conformance mark.
    return _classic(found, found.keys() - {Tag.INTEROPERABILITY})


def _classic(fields: Fields, wanted: set[int]) -> Fields:
    """The wanted fields whose types are not BigTIFF's own."""
    return {tag: f for tag, f in fields.items() if tag in wanted and f.kind < Kind.BIGTIFF}


def described(exif: bytes) -> Fields:
    """The descriptive fields of an EXIF block's first directory, and the pointers to its sub-directories.

    Raises :class:`DecodeError` for a broken structure.
    """
    return _classic(TiffBytes(exif, "EXIF").first(), _DESCRIPTIVE_TAGS | {*_SUB_DIRECTORIES})


def with_short_fields(data: bytes, name: str) -> bytes:
    """The same file with the numbers of its first directory as SHORT where they are BYTE.

    Readers should take either (TIFF 6.0, section 2); tifffile takes a BYTE for a string.
    """
    file = TiffBytes(data, name)
    fields = file.first()
    odd = {tag: f for tag, f in fields.items() if f.kind == Kind.BYTE and tag in _LAYOUT_TAGS}
    if not odd or not file.is_classic:
        return data
    for tag, field in odd.items():
        fields[tag] = Field.of(file.order, Kind.SHORT, *field.value)
    return with_directory(data, file.order, fields)


def with_strips(data: bytes, name: str, strips: list[bytes]) -> bytes:
    """The first picture of a classic TIFF with other strips or tiles, packed in the same way."""
    file = TiffBytes(data, name)
    fields = file.first()
    lengths = [len(strip) for strip in strips]
    starts = [8 + before for before in itertools.accumulate([0, *lengths[:-1]])]
    tiled = Tag.TILE_OFFSETS in fields
    fields[Tag.TILE_OFFSETS if tiled else Tag.STRIP_OFFSETS] = Field.of(file.order, Kind.LONG, *starts)
    fields[Tag.TILE_SIZES if tiled else Tag.STRIP_SIZES] = Field.of(file.order, Kind.LONG, *lengths)
    return with_directory(b"".join([data[:8], *strips]), file.order, fields)


def with_directory(data: bytes, order: str, fields: Fields) -> bytes:
    """``data``, a classic TIFF, with another first directory at its end and no further one."""
    return pack_head(order, len(data)) + data[8:] + pack_directory(order, fields, len(data))
