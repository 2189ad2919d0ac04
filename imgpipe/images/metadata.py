"""EXIF, XMP and ICC blocks as bytes: validity, orientation, and the size that EXIF states."""

from __future__ import annotations

import html
import re
import struct

from imgpipe.images.container import Metadata
from imgpipe.images.directories import Field, Kind, Tag, TiffBytes, pack_directory, pack_head

#: Larger blocks are left out, with a note: they would be written again beside every output.
MAX_BLOCK_BYTES = 4 * 1024 * 1024

#: The name of what enlarged a picture, in a description of its own (XMP, ISO 16684-1).
_XMP_UPSCALER = re.compile(rb"(\bimgpipe:upscaler=\")([^\"]{1,200})(?=\")")
_XMP_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="r"?>'
)
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8](?=\s*[\"'<])")


def screen(icc: bytes | None, exif: bytes | None, xmp: bytes | None, notes: list[str]) -> Metadata:
    """The blocks that can be carried; what cannot is left out and named in the notes."""
    notes = list(notes)
    exif = exif.removeprefix(b"Exif\0\0") if exif else None
    if icc and (why := icc_fault(icc)):
        notes.append(f"ICC profile of {len(icc)} bytes not carried: {why}")
        icc = None
    if exif and (why := exif_fault(exif)):
        notes.append(f"EXIF block of {len(exif)} bytes not carried: {why}")
        exif = None
    if xmp and len(xmp) > MAX_BLOCK_BYTES:
        notes.append(f"XMP packet of {len(xmp)} bytes not carried: over {MAX_BLOCK_BYTES}")
        xmp = None
    return Metadata(icc or None, exif or None, xmp or None, notes=tuple(notes))


def icc_fault(icc: bytes) -> str:
    """Why these bytes are no usable ICC profile (ICC.1, section 7.2), or ``""``."""
    if len(icc) > MAX_BLOCK_BYTES:
        return f"over {MAX_BLOCK_BYTES} bytes"
    if len(icc) < 132 or icc[36:40] != b"acsp":
        return "it is no ICC profile"
    if int.from_bytes(icc[:4], "big") > len(icc):
        return f"its header says {int.from_bytes(icc[:4], 'big')} bytes"
    return ""


def icc_space(icc: bytes | None) -> str:
    """The colour space a profile is for: ``GRAY``, ``RGB``, ``CMYK``, ...; empty without a profile."""
    return icc[16:20].decode("latin-1").strip() if icc else ""


def exif_fault(exif: bytes) -> str:
    """Why the EXIF block cannot be read, or ``""``."""
    if len(exif) > MAX_BLOCK_BYTES:
        return f"over {MAX_BLOCK_BYTES} bytes"
    if exif[:4] not in (b"II*\0", b"MM\0*") or len(exif) < 14:
        return "it does not start with a byte order"
    file = TiffBytes(exif, "EXIF")
    at = file.first_at
    if not 8 <= at <= len(exif) - 2:
        return f"its first directory is said to be at byte {at}"
    if file.end_of(at) > len(exif):
        return f"its first directory of {file.number(at, Kind.SHORT)} entries is cut off"
    return ""


def _opened(exif: bytes | None) -> TiffBytes | None:
    return None if exif is None or exif_fault(exif) else TiffBytes(exif, "EXIF")


def orientation_of(exif: bytes | None) -> int:
    """1..8 from the EXIF block; 1 where there is none or the value is not one of these."""
    file = _opened(exif)
    at = _orientation_at(file) if file else None
    value = file.number(at, Kind.SHORT) if file and at is not None else 1
    return value if 1 <= value <= 8 else 1


def _orientation_at(file: TiffBytes) -> int | None:
    """Offset of the orientation's SHORT value, or ``None``."""
    found = file.single(file.first_at, Tag.ORIENTATION)
    return found[1] if found is not None and found[0] == Kind.SHORT else None


def reset_exif_orientation(exif: bytes | None) -> bytes | None:
    """The same block with orientation 1, and XResolution and YResolution exchanged where that was a quarter
    turn, in place: every other byte stays."""
    file = _opened(exif)
    at = _orientation_at(file) if file else None
    if exif is None or file is None or at is None:
        return exif
    block = bytearray(exif)
    struct.pack_into(file.order + "H", block, at, 1)
    across, down = (_resolution_at(exif, file, tag) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION))
    if orientation_of(exif) >= 5 and across and down:
        block[across : across + 8], block[down : down + 8] = exif[down : down + 8], exif[across : across + 8]
    return bytes(block)


def _resolution_at(exif: bytes, file: TiffBytes, tag: int) -> int | None:
    """Offset of the RATIONAL of XResolution or YResolution, or ``None``."""
    found = file.single(file.first_at, tag, (Kind.RATIONAL,))
    at = file.number(found[1]) if found else 0
    return at if 8 <= at <= len(exif) - 8 else None


def reset_xmp_orientation(xmp: bytes | None) -> bytes | None:
    """The same packet with ``tiff:Orientation`` 1; some programs prefer it to the EXIF tag."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else xmp


def with_exif_size(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The same block with its own statements of size saying ``width`` and ``height`` px: ImageWidth and
    ImageLength in its first directory, PixelXDimension and PixelYDimension in Exif's. What it does not say,
    or has no room for, is left; every other byte stays."""
    file = _opened(exif)
    if exif is None or file is None:
        return exif
    first = file.first_at
    places = [(first, Tag.WIDTH, width), (first, Tag.HEIGHT, height)]
    inner = file.single(first, Tag.EXIF_DIRECTORY)
    if inner is not None and inner[0] == Kind.LONG:
        start = file.number(inner[1])
        places += [(start, Tag.EXIF_WIDTH, width), (start, Tag.EXIF_HEIGHT, height)]
    block = bytearray(exif)
    for start, tag, value in places:
        found = file.single(start, tag)
        if found is not None and (found[0] == Kind.LONG or value <= 0xFFFF):
            struct.pack_into(file.order + ("I" if found[0] == Kind.LONG else "H"), block, found[1], value)
    return bytes(block)


def without_exif_thumbnail(exif: bytes | None) -> bytes | None:
    """The same block without the small picture of its second directory: nothing refers to that any more, and
    its bytes are cut off at the end of the block, or zero. Every other byte stays in its place."""
    file = _opened(exif)
    if exif is None or file is None:
        return exif
    link = file.end_of(file.first_at)
    second = file.number(link) if link + 4 <= len(exif) else 0
    if not second:
        return exif
    block = bytearray(exif)
    block[link : link + 4] = bytes(4)
    others = [file.single_number(file.first_at, tag) for tag in (Tag.EXIF_DIRECTORY, Tag.GPS_DIRECTORY)]
    for start, end in sorted(_thumbnail_regions(exif, file, second), reverse=True):
        if start < link + 4 or end <= start or any(at is not None and start <= at < end for at in others):
            continue  # it would overwrite what is kept
        block[start:end] = bytes(len(block[start:end])) if end < len(block) else b""
    return bytes(block)


def _thumbnail_regions(exif: bytes, file: TiffBytes, second: int) -> list[tuple[int, int]]:
    """The second directory and what it says of its picture (JPEG, or one strip), as (start, end)."""
    if second + 2 > len(exif):
        return []
    regions = [(second, file.end_of(second) + 4)]
    for place, length in ((Tag.JPEG_OFFSET, Tag.JPEG_SIZE), (Tag.STRIP_OFFSETS, Tag.STRIP_SIZES)):
        start, size = file.single_number(second, place), file.single_number(second, length)
        if start and size:
            regions.append((start, start + size))
    return regions


def without_xmp_thumbnails(xmp: bytes | None) -> bytes | None:
    """The same packet without ``xmp:Thumbnails``."""
    for prefix in (b"xmp", b"xap"):
        opening, closing = b"<" + prefix + b":Thumbnails", b"</" + prefix + b":Thumbnails>"
        while xmp and (start := xmp.find(opening)) >= 0 and (end := xmp.find(closing, start)) >= 0:
            xmp = xmp[:start] + xmp[end + len(closing) :]
    return xmp


def with_upscaler(xmp: bytes | None, name: str) -> bytes:
    """The same packet, or a new one, that names what enlarged the picture; one that is no RDF stays."""
    value = html.escape(name).encode()
    packet, known = _XMP_UPSCALER.subn(lambda found: found[1] + value, xmp or _XMP_PACKET.encode())
    said = b'<rdf:Description rdf:about="" xmlns:imgpipe="ns:imgpipe/" imgpipe:upscaler="%b"/>' % value
    return packet if known else packet.replace(b"</rdf:RDF>", said + b"</rdf:RDF>", 1)


def upscaler_of(xmp: bytes | None) -> str:
    """What :func:`with_upscaler` wrote into the packet, or ``""``."""
    found = _XMP_UPSCALER.search(xmp or b"")
    return html.unescape(found[2].decode(errors="replace")) if found else ""


def exif_of_dpi(dpi: tuple[float, float]) -> bytes:
    """A block that says nothing but the resolution, for formats without a field of their own."""
    return pack_head("<", 8) + pack_directory("<", dpi_fields("<", dpi), 8)


def dpi_fields(order: str, dpi: tuple[float, float]) -> dict[int, Field]:
    """The fields that state a resolution in px per inch, horizontally and vertically."""
    across, down = (Field.of(order, Kind.RATIONAL, round(value * 1000), 1000) for value in dpi)
    unit = Field.of(order, Kind.SHORT, 2)  # inches
    return {Tag.X_RESOLUTION: across, Tag.Y_RESOLUTION: down, Tag.RESOLUTION_UNIT: unit}
