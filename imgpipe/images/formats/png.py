"""PNG chunks (W3C PNG, third edition): header, metadata, a clean copy for the decoder, splicing.

The decoder is given a file of only IHDR, PLTE, tRNS, IDAT and IEND, so that no text, profile or animation
chunk, however hostile, reaches it; metadata is read and written here, byte for byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zlib_ng import zlib_ng

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.container import Header, Metadata, damaged, dpi_of
from imgpipe.images.formats import png_colour
from imgpipe.images.metadata import MAX_BLOCK_BYTES, orientation_of, screen

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"

_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_METRES_PER_INCH = 0.0254
_COLOUR_CHUNKS = {b"iCCP", *png_colour.LENGTHS}
_HDR_CHUNKS = {b"mDCV", b"cLLI"}
_METADATA_CHUNKS = _COLOUR_CHUNKS | _HDR_CHUNKS | {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}
#: Enough for the largest pictures in chunks of a few KB; more only costs time.
_MAX_CHUNKS = 500_000
#: Colour type -> samples per pixel, and the bits they may have.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY = {0, 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: where its body lies in the file."""

    kind: bytes
    start: int
    length: int

    def body(self, data: bytes) -> bytes:
        return data[self.start : self.start + self.length]

    def whole(self, data: bytes) -> memoryview:
        """Length, kind, body and CRC as they stand in the file."""
        return memoryview(data)[self.start - 8 : self.start + self.length + 4]

    def crc_holds(self, data: bytes) -> bool:
        stored = int.from_bytes(data[self.start + self.length : self.start + self.length + 4], "big")
        return zlib.crc32(memoryview(data)[self.start - 4 : self.start + self.length]) == stored


def chunks(data: bytes, name: str) -> Iterator[Chunk]:
    """All chunks up to and with IEND; raises :class:`DecodeError` where the file ends before."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            raise damaged(name, f"the PNG ends at byte {len(data)} without its IEND chunk")
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            shown = kind.decode("latin-1")
            raise damaged(
                name,
                f"the PNG chunk {shown!r} at byte {at} says {length} bytes, {len(data) - at - 12} are left",
            )
        yield Chunk(kind, at + 8, length)
        at += 12 + length
        if kind == b"IEND":
            return
    raise damaged(name, f"the PNG has more than {_MAX_CHUNKS} chunks")


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure, :class:`UnsupportedFormat` for
    Apple's variant."""
    listed = list(chunks(data, name))
    if listed[0].kind == b"CgBI":
        raise UnsupportedFormat(
            f"{name}: expected a PNG as the standard has it, got Apple's variant for its devices (CgBI); "
            "convert it, for example with `pngcrush -revert-iphone-optimizations` or with Xcode's export"
        )
    if listed[0].kind != b"IHDR" or listed[0].length != 13:
        raise damaged(name, "the PNG does not start with its IHDR chunk")
    if not listed[0].crc_holds(data):
        raise damaged(name, "the CRC of the PNG chunk IHDR is wrong")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, listed[0].start)
    if not width or not height or depth not in _DEPTHS.get(colour, set()):
        raise damaged(
            name, f"the PNG header says {width}x{height} px, {depth} bits, colour type {colour}: impossible"
        )
    _refuse_bomb(listed, (width, height), _SAMPLES[colour] * depth, name)
    found, colours, notes = _metadata(data, listed)
    icc, colour_notes = png_colour.profile_of(colours, found.get("icc"), grey=colour in _GREY)
    frames, frame_notes = _frames(data, listed)
    end = listed[-1].start + listed[-1].length + 4
    if end < len(data):
        notes.append(f"{len(data) - end} bytes after the end of the PNG ignored")
    meta = screen(icc, found.get("exif"), found.get("xmp"), [*frame_notes, *notes, *colour_notes])
    meta = replace(meta, dpi=_dpi(data, listed))
    return Header("PNG", width, height, frames, depth, orientation_of(meta.exif)), meta


def pixel_file(data: bytes, name: str) -> bytes:
    """The same PNG with only the chunks that its (default) picture needs; ``data`` where it has no others."""
    kept = [chunk.whole(data) for chunk in chunks(data, name) if chunk.kind in _PIXEL_CHUNKS]
    if len(SIGNATURE) + sum(map(len, kept)) == len(data):
        return data
    return b"".join([SIGNATURE, *kept])


def diagnose(data: bytes, name: str) -> DecodeError:
    """The most precise error for a PNG that its decoder has refused."""
    for chunk in chunks(data, name):
        if chunk.kind in _PIXEL_CHUNKS and not chunk.crc_holds(data):
            shown = chunk.kind.decode("latin-1")
            return damaged(name, f"the CRC of the PNG chunk {shown} at byte {chunk.start - 8} is wrong")
    return damaged(name, "the compressed pixels of the PNG do not make up its picture")


def chunk_parts(kind: bytes, body: bytes) -> tuple[bytes, ...]:
    """Length, kind, body, CRC."""
    crc = zlib_ng.crc32(body, zlib_ng.crc32(kind))
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", crc)


def make_chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join(chunk_parts(kind, body))


def describing_chunks(
    *, icc: bytes | None, exif: bytes | None, xmp: bytes | None, dpi: tuple[float, float] | None = None
) -> bytes:
    """iCCP, eXIf, pHYs and an iTXt XMP packet, which may all stand directly behind IHDR."""
    parts = []
    if dpi is not None:
        per_metre = [min(max(round(value / _METRES_PER_INCH), 1), 2**31 - 1) for value in dpi]
        parts.append(make_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if icc is not None:
        parts.append(make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc, 9)))
    if exif is not None:
        parts.append(make_chunk(b"eXIf", exif))
    if xmp is not None:
        parts.append(make_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    return b"".join(parts)


def _dpi(data: bytes, listed: list[Chunk]) -> tuple[float, float] | None:
    """Px per inch from pHYs, where that gives px per metre (1) and not only their ratio."""
    for chunk in listed:
        if chunk.kind == b"pHYs" and chunk.length == 9 and chunk.crc_holds(data):
            across, down, unit = struct.unpack(">IIB", chunk.body(data))
            if unit == 1:
                return dpi_of(across * _METRES_PER_INCH, down * _METRES_PER_INCH)
    return None


def _refuse_bomb(listed: list[Chunk], size: tuple[int, int], bits_per_pixel: int, name: str) -> None:
    """Refuse compressed data far longer than the pixels: libpng would inflate all of it."""
    width, height = size
    row_bytes = (width * bits_per_pixel + 7) // 8 + 1
    packed = sum(chunk.length for chunk in listed if chunk.kind == b"IDAT")
    # Factor 2: interlacing repeats filter bytes. 65,536: overhead of small pictures.
    if packed > 2 * row_bytes * height + 65_536:
        raise damaged(name, f"the PNG has {packed} compressed bytes for {width}x{height} px")


def _metadata(data: bytes, listed: list[Chunk]) -> tuple[dict[str, bytes], dict[bytes, bytes], list[str]]:
    """(blocks of metadata, chunks that describe the colours, notes)."""
    found: dict[str, bytes] = {}
    colours: dict[bytes, bytes] = {}
    notes: list[str] = []
    texts: list[str] = []
    pixels_at = next((chunk.start for chunk in listed if chunk.kind == b"IDAT"), len(data))
    for chunk in listed:
        if chunk.kind not in _METADATA_CHUNKS:
            continue
        shown = chunk.kind.decode("latin-1")
        if not chunk.crc_holds(data):
            notes.append(f"PNG chunk {shown} ignored: its CRC is wrong")
        elif chunk.kind in _COLOUR_CHUNKS and chunk.start > pixels_at:
            notes.append(f"PNG chunk {shown} ignored: it stands behind the pixels")
        elif png_colour.LENGTHS.get(chunk.kind, chunk.length) != chunk.length:
            notes.append(f"PNG chunk {shown} ignored: it has {chunk.length} bytes")
        elif chunk.kind in _HDR_CHUNKS:
            notes.append(f"PNG chunk {shown} (limits of an HDR display) not carried")
        elif chunk.kind in png_colour.LENGTHS:
            colours.setdefault(chunk.kind, chunk.body(data))
        else:
            _take(chunk.kind, chunk.body(data), found, notes, texts)
    if texts:
        notes.append("PNG text not carried: " + ", ".join(sorted(set(texts))[:20]))
    return found, colours, notes


def _take(kind: bytes, body: bytes, found: dict[str, bytes], notes: list[str], texts: list[str]) -> None:
    keyword, _, rest = body.partition(b"\0")
    if kind == b"eXIf":
        found.setdefault("exif", body)
    elif kind == b"iCCP":
        profile = _inflate(rest[1:])
        if profile is None:
            notes.append(f"ICC profile not carried: its data is damaged or over {MAX_BLOCK_BYTES} bytes")
        else:
            found.setdefault("icc", profile)
    elif kind == b"iTXt" and keyword == XMP_KEYWORD:
        packet = _international_text(rest)
        if packet is None:
            notes.append(f"XMP not carried: its data is damaged or over {MAX_BLOCK_BYTES} bytes")
        else:
            found.setdefault("xmp", packet)
    else:
        texts.append(keyword[:79].decode("latin-1"))


def _international_text(rest: bytes) -> bytes | None:
    """The text of an iTXt body behind its keyword: flag, method, language, translated keyword, text."""
    compressed = rest[:1] == b"\1"
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3:
        return None
    return _inflate(parts[2]) if compressed else parts[2]


def _inflate(packed: bytes) -> bytes | None:
    """Inflated at most to the limit, so that a bomb costs no memory; ``None`` where damaged or over it."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(packed, MAX_BLOCK_BYTES + 1)
    except zlib.error:
        return None
    return plain if stream.eof and len(plain) <= MAX_BLOCK_BYTES else None


def _frames(data: bytes, listed: list[Chunk]) -> tuple[int, list[str]]:
    control = next((chunk.body(data) for chunk in listed if chunk.kind == b"acTL"), b"")
    frames = int.from_bytes(control[:4], "big") if len(control) == 8 else 0
    if frames <= 1:
        return 1, []
    # The default picture belongs to the animation where a frame's control stands before it.
    first = next((chunk.kind for chunk in listed if chunk.kind in (b"fcTL", b"IDAT")), b"fcTL")
    kept = "default picture kept, not its {} frames" if first == b"IDAT" else "first of {} frames kept"
    return frames, ["animated: " + kept.format(frames)]
