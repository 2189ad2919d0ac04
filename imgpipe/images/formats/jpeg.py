"""JPEG segments (ITU-T T.81, annex B): header, metadata, and a copy of the file without the metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.metadata import orientation_of, screen

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_ICC_PART = 65_519  # what a segment holds behind the name and the two counters
_PHOTOSHOP = b"Photoshop 3.0\0"

_MAX_SEGMENTS = 100_000
_SOS = 0xDA
#: Start-of-frame markers: all of C0..CF but DHT (C4), JPG (C8) and DAC (CC).
_SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: APP1 (EXIF, XMP), APP2 (ICC, MPF), APP13 (Photoshop) and comments: never given to the decoder.
_METADATA_MARKERS = {0xE1, 0xE2, 0xED, 0xFE}


@dataclass(slots=True)
class _Found:
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_total: int = 0
    notes: list[str] = field(default_factory=list)


def segments(data: bytes, name: str) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of FF, length of marker, length field and body) up to and with the first SOS."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > len(data):
            raise damaged(name, f"the JPEG ends at byte {len(data)} before its picture begins")
        if data[at] != 0xFF:
            raise damaged(name, f"the JPEG has {data[at]:#04x} at byte {at} where a segment should start")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a body
            at += 2
            continue
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 4 or at + length > len(data) or marker == 0xD9:
            raise damaged(name, f"the JPEG segment {marker:02X} at byte {at} runs out of the file")
        yield marker, at, length
        if marker == _SOS:
            return
        at += length
    raise damaged(name, f"the JPEG has more than {_MAX_SEGMENTS} segments before its picture")


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure."""
    found = _Found()
    frame: tuple[int, int, int] | None = None
    for marker, at, length in segments(data, name):
        body = memoryview(data)[at + 4 : at + length]
        if marker in _SOF:
            if len(body) < 6 or frame is not None:
                raise damaged(name, "the JPEG has a frame header that is cut off or given twice")
            depth, height, width = struct.unpack_from(">BHH", body)
            frame = depth, width, height
        elif marker in _METADATA_MARKERS:
            _take(marker, bytes(body), found)
    if frame is None or not frame[1] or not frame[2]:
        raise damaged(name, "the JPEG does not say how large its picture is")
    meta = screen(_joined_icc(found), found.exif, found.xmp, found.notes)
    return Header("JPEG", frame[1], frame[2], 1, frame[0], orientation_of(meta.exif)), meta


def pixel_file(data: bytes, name: str) -> bytes:
    """The same JPEG without its metadata; the Adobe segment, which says what the channels are, stays.

    Raises :class:`DecodeError` where the compressed data is too short for the picture.
    """
    parts: list[bytes | memoryview] = [data[:2]]
    least_bytes, end = 0, 2
    for marker, at, length in segments(data, name):
        if marker not in _METADATA_MARKERS:
            parts.append(memoryview(data)[at : at + length])
        if marker in _SOF:
            least_bytes = _least_bytes(marker, data[at + 4 : at + length])
        end = at + length
    if len(data) - end < least_bytes:
        raise damaged(
            name, f"the JPEG's picture takes at least {least_bytes} bytes, {len(data) - end} are there"
        )
    return b"".join([*parts, memoryview(data)[end:]])


def splice(jpeg: bytes, *, icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    """``jpeg`` with EXIF, XMP and ICC segments behind its JFIF header.

    ``exif`` and ``xmp`` must fit a segment of 65,533 bytes; a profile is cut into as many as it takes
    (ICC.1, annex B.4).
    """
    bodies = [(0xE1, _EXIF + exif)] if exif else []
    if xmp:
        bodies.append((0xE1, _XMP + xmp))
    parts = [icc[at : at + _ICC_PART] for at in range(0, len(icc), _ICC_PART)] if icc else []
    bodies += [
        (0xE2, _ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts, start=1)
    ]
    written = [struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body for marker, body in bodies]
    head = 2
    if jpeg[2:4] == b"\xff\xe0":
        head += 2 + int.from_bytes(jpeg[4:6], "big")
    return b"".join([jpeg[:head], *written, memoryview(jpeg)[head:]])


def _least_bytes(marker: int, body: bytes) -> int:
    """The fewest bytes that the picture's blocks can take: with fewer, libjpeg paints grey instead.

    A Huffman code has at least one bit; a block has one code for DC and, unless progressive, one for AC.
    """
    bits = {0xC0: 2, 0xC1: 2, 0xC2: 1}.get(marker, 0)
    height, width, count = struct.unpack_from(">HHB", body, 1)
    factors = [(part >> 4, part & 15) for part in body[7 : 6 + 3 * count : 3]]
    if not bits or len(factors) != count or not all(h and v for h, v in factors):
        return 0
    widest, highest = max(h for h, _ in factors), max(v for _, v in factors)
    blocks = sum(-(-width * h // (8 * widest)) * -(-height * v // (8 * highest)) for h, v in factors)
    return int(bits * blocks // 8)


def _take(marker: int, body: bytes, found: _Found) -> None:
    if marker == 0xE1 and body.startswith(_EXIF):
        if found.exif is None:
            found.exif = body[len(_EXIF) :]
    elif marker == 0xE1 and body.startswith(_XMP):
        found.xmp = found.xmp or body[len(_XMP) :]
    elif marker == 0xE1 and body.startswith(_XMP_MORE):
        _note_once(found, "extended XMP not carried")
    elif marker == 0xE2 and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
        found.icc.setdefault(body[len(_ICC)], body[len(_ICC) + 2 :])
        found.icc_total = body[len(_ICC) + 1]
    elif marker == 0xE2 and body.startswith(b"MPF\0"):
        _note_once(found, "several pictures in one JPEG: the first kept")
    elif marker == 0xED and body.startswith(_PHOTOSHOP):
        found.notes.append(f"Photoshop/IPTC data of {len(body) - len(_PHOTOSHOP)} bytes not carried")


def _note_once(found: _Found, note: str) -> None:
    if note not in found.notes:
        found.notes.append(note)


def _joined_icc(found: _Found) -> bytes | None:
    """The profile from its numbered parts (ICC.1, annex B.4)."""
    if not found.icc:
        return None
    wanted = range(1, found.icc_total + 1)
    if sorted(found.icc) != list(wanted):
        found.notes.append(f"ICC profile not carried: parts {sorted(found.icc)} of {found.icc_total} present")
        return None
    return b"".join(found.icc[number] for number in wanted)
