"""JPEG segments (ITU-T T.81, annex B): header and metadata, read and written."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.container import Header, Metadata, damaged, dpi_of
from imgpipe.images.metadata import orientation_of, screen

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_ICC_PART = 65_519  # what a segment holds behind the name and the two counters
_PHOTOSHOP = b"Photoshop 3.0\0"

_MAX_SEGMENTS = 100_000
SOS, EOI = 0xDA, 0xD9
#: Start-of-frame markers: all of C0..CF but DHT (C4), JPG (C8) and DAC (CC).
SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Kinds that libjpeg-turbo does not read.
_UNREAD = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical one"),
    0xCB: "a lossless one with arithmetic coding",
    0xF7: "JPEG-LS",
}
_LINE_COUNT = 0xDC
#: APP1 (EXIF, XMP), APP2 (ICC, MPF), APP13 (Photoshop).
_METADATA_MARKERS = {0xE1, 0xE2, 0xED}
#: Markers of segments with a body, and the end marker.
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
#: The next marker in compressed data that is no restart marker; FF 00 stands for the value FF.
_SCAN_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
#: What can follow a scan: tables, a line count (DC), the end, the next scan, metadata.
_AFTER_SCAN = {bytes((m,)) for m in (0xC4, 0xCC, *range(0xD9, 0xDE), 0xFE, *range(0xE0, 0xF0))}


@dataclass(slots=True)
class _Found:
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_total: int = 0
    notes: list[str] = field(default_factory=list)


def segments(data: bytes, name: str) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of FF, offset behind the body) of the segments, then of those between the scans, to the
    end marker or where no further segment follows.

    Bytes before a segment that are none are passed over, as are the scans' compressed data. Raises
    :class:`DecodeError` where there is no scan, or a segment before it runs out of the file.
    """
    at, scanned = 2, False
    for _ in range(_MAX_SEGMENTS):
        at = scan_end(data, at, _SEGMENT)
        marker = data[at + 1] if at + 2 <= len(data) else EOI
        if marker == EOI:
            if not scanned:
                raise damaged(name, f"the JPEG ends at byte {at} before its picture begins")
            if at + 2 <= len(data):
                yield marker, at, at + 2
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(data):
            if scanned:
                return
            raise damaged(name, f"the JPEG segment {marker:02X} at byte {at} runs out of the file")
        yield marker, at, end
        at = end
        if marker == SOS:
            scanned = True
            at = scan_end(data, end)
            if data[at + 1 : at + 2] not in _AFTER_SCAN:
                return
    raise damaged(name, f"the JPEG has more than {_MAX_SEGMENTS} segments")


def scan_end(data: bytes, at: int, marker: re.Pattern[bytes] = _SCAN_END) -> int:
    """The offset of the next marker that is no restart marker, or the end of the file."""
    found = marker.search(data, at)
    return found.start() if found else len(data)


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure, :class:`UnsupportedFormat` for
    kinds that the decoder does not read."""
    found = _Found()
    frame: tuple[int, int, int] | None = None
    dpi: tuple[float, float] | None = None
    for marker, at, end in segments(data, name):
        body = memoryview(data)[at + 4 : end]
        if marker == SOS:
            break
        if marker in _UNREAD:
            raise _unsupported(name, _UNREAD[marker])
        if marker in SOF:
            if len(body) < 6 or frame is not None:
                raise damaged(name, "the JPEG has a frame header that is cut off or given twice")
            depth, height, width = struct.unpack_from(">BHH", body)
            frame = depth, width, height
        elif marker == 0xE0 and bytes(body[:5]) == b"JFIF\0":
            dpi = _dpi(body)
        elif marker in _METADATA_MARKERS:
            _take(marker, bytes(body), found)
    if frame and frame[1] and not frame[2] and any(m == _LINE_COUNT for m, _, _ in segments(data, name)):
        raise _unsupported(name, "one whose height stands behind the picture (DNL)")
    if frame is None or not frame[1] or not frame[2]:
        raise damaged(name, "the JPEG does not say how large its picture is")
    meta = screen(_joined_icc(found), found.exif, found.xmp, found.notes)
    header = Header("JPEG", frame[1], frame[2], 1, frame[0], orientation_of(meta.exif))
    return header, replace(meta, dpi=dpi)


def splice(
    jpeg: bytes,
    *,
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """``jpeg`` with EXIF, XMP and ICC segments behind its JFIF header, which says ``dpi``, rounded.

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
    start = jpeg[:head]
    if dpi is not None and start[6:11] == b"JFIF\0":
        start = start[:13] + struct.pack(">BHH", 1, *(min(max(round(v), 1), 65535) for v in dpi)) + start[18:]
    return b"".join([start, *written, memoryview(jpeg)[head:]])


def _unsupported(name: str, kind: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{name}: expected a sequential, progressive or lossless JPEG, got {kind}; convert it to PNG"
    )


def _dpi(jfif: memoryview) -> tuple[float, float] | None:
    """Px per inch, where the header says its densities per inch (1) or cm (2) and not only their ratio."""
    if len(jfif) < 12 or jfif[7] not in (1, 2):
        return None
    across, down = struct.unpack_from(">HH", jfif, 8)
    unit = 1.0 if jfif[7] == 1 else 2.54
    return dpi_of(across * unit, down * unit)


def least_bytes(marker: int, body: bytes) -> int:
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
