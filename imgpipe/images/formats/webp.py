"""WebP containers (RFC 9649): header and metadata."""

from __future__ import annotations

from collections.abc import Iterator

from imgpipe.images.container import Header, Metadata, damaged
from imgpipe.images.metadata import orientation_of, screen

_MAX_CHUNKS = 500_000


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """Header and metadata; raises :class:`DecodeError` for a broken structure."""
    found: dict[bytes, bytes] = {}
    frames = 0
    size: tuple[int, int] | None = None
    for kind, start, length in _chunks(data, name):
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            size = size or _size(kind, data[start : start + min(length, 16)])
        elif kind == b"ANMF":
            frames += 1
        elif kind in (b"ICCP", b"EXIF", b"XMP "):
            found.setdefault(kind, data[start : start + length])
    if size is None:
        raise damaged(name, "the WebP does not say how large its picture is")
    notes = [f"animated: first of {frames} frames kept"] if frames > 1 else []
    meta = screen(found.get(b"ICCP"), found.get(b"EXIF"), found.get(b"XMP "), notes)
    return Header("WEBP", *size, max(frames, 1), 8, orientation_of(meta.exif)), meta


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the body, its length) of the RIFF chunks."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise damaged(name, f"the WebP says {end} bytes, the file has {len(data)}")
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 8 > end:
            return
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            shown = kind.decode("latin-1")
            raise damaged(name, f"the WebP chunk {shown!r} at byte {at} runs out of the file")
        yield kind, at + 8, length
        at += 8 + length + length % 2
    raise damaged(name, f"the WebP has more than {_MAX_CHUNKS} chunks")


def _size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    """(width, height) px from a VP8X, VP8 or VP8L chunk, ``None`` where it is none."""
    if kind == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        width = int.from_bytes(body[6:8], "little") & 0x3FFF
        height = int.from_bytes(body[8:10], "little") & 0x3FFF
        return (width, height) if width and height else None
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
