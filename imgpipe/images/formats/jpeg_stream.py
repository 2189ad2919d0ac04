"""A JPEG taken apart for the decoder: its segments without metadata, and the compressed data of its scans.

What lies between segments, is written oddly, or is missing behind the picture is left out or put right, and
named in notes, so that what libjpeg still warns of concerns the picture.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from imgpipe.images.container import damaged
from imgpipe.images.formats import jpeg

_EOI = b"\xff\xd9"
_DHT, _DRI, _JFIF, _ADOBE = 0xC4, 0xDD, 0xE0, 0xEE
#: What the pixels depend on: frame, tables (DHT, DAC, DQT, DRI), scans, and what the channels are. DE and DF
#: announce a hierarchical JPEG, which libjpeg refuses.
_KEPT = {*jpeg.SOF, _DHT, 0xCC, 0xDB, _DRI, jpeg.SOS, _JFIF, _ADOBE, 0xDE, 0xDF}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
#: Sequential frames of DCT blocks, whose scans always say 0, 63, 0.
_HUFFMAN = {0xC0, 0xC1}
_SEQUENTIAL = {*_HUFFMAN, 0xC9}
_ALL_AT_ONCE = b"\0\x3f\0"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_MAX_STRETCHES = 1 << 20

_Part = bytes | memoryview


@dataclass(slots=True)
class _Frame:
    """What the frame header announces, and what the scans have sent: component -> for each coefficient the
    lowest bit that came, 64 before any has."""

    marker: int
    components: dict[int, list[int]]
    #: Width and height in px of what is coded in turn, where all components are in one scan.
    unit: tuple[int, int]
    least_bytes: int
    pixels: int

    def take(self, scan: bytes) -> None:
        """Note what a scan with this header (T.81, B.2.3) sends."""
        count = scan[0]
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        if self.marker not in _PROGRESSIVE:
            first, last, bits = 0, 63, 0
        for component in scan[1 : 1 + 2 * count : 2]:
            lowest = self.components.get(component, [])
            lowest[first : last + 1] = [bits & 15] * len(lowest[first : last + 1])

    def missing(self) -> str:
        """Which coefficients did not come in full, or ``""``."""
        for number, lowest in enumerate(self.components.values(), start=1):
            absent = [k for k, bit in enumerate(lowest) if bit]
            if absent:
                return (
                    f"scans are missing: of component {number} of {len(self.components)}, {len(absent)} of "
                    f"64 coefficients, from number {absent[0]} on, did not come in full"
                )
        return ""


@dataclass(slots=True)
class Stream:
    """``parts`` joined are the file for the decoder; ``stretches`` are the indices of those that are
    compressed data: of whole scans, or of their stretches between restart markers (:meth:`split`). ``notes``
    say what was left out or put right."""

    frame: _Frame
    parts: list[_Part]
    stretches: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: The parts before the compressed data with the size of two stretches, where these need no others.
    small_head: list[_Part] | None = None

    def data(self) -> bytes:
        """The whole file."""
        return b"".join([*self.parts, _EOI])

    def excerpt(self, number: int, added: bytes) -> bytes:
        """A file that ends with the stretch ``number`` and bytes ``added`` to it; without those before where
        they are not needed. The last, which may be shorter than others, stands behind all of them."""
        end = self.stretches[number] + 1
        small = self.small_head if number < len(self.stretches) - 1 else None
        before = self.parts[: end - 1] if small is None else small
        return b"".join([*before, self.parts[end - 1], added, _EOI])

    def zeros_at_end(self) -> int:
        """How many bytes that are zero the compressed data ends in."""
        body = bytes(self.parts[self.stretches[-1]])
        return len(body) - len(body.rstrip(b"\0"))

    def unlikely_zeros(self) -> int:
        """:meth:`zeros_at_end` from 2 on, where zero bits are no ends of all blocks: no encoder ends so."""
        head = b"".join(part[4:] for part in self.parts[: self.stretches[0]] if part[1] == _DHT)
        at, shortest = 0, set()
        while at + 17 < len(head):
            if head[at] >> 4:  # a table of AC; its first code is all zeros
                shortest.add(head[at + 17])
            at += 17 + sum(head[at + 1 : at + 17])
        zeros = self.zeros_at_end() if self.frame.marker in _HUFFMAN and shortest != {0} else 0
        return zeros if zeros > 1 else 0

    def split(self) -> bool:
        """Make every stretch between two restart markers a part of its own; false where they are too many."""
        parts: list[_Part] = []
        stretches: list[int] = []
        scans = set(self.stretches)
        for index, part in enumerate(self.parts):
            at = 0
            for restart in _RESTART.finditer(part) if index in scans else ():
                stretches.append(len(parts))
                parts += [part[at : restart.start()], restart.group()]
                at = restart.end()
                if len(stretches) > _MAX_STRETCHES:
                    return False
            stretches += [len(parts)] if index in scans else []
            parts.append(part[at:])
        self.parts, self.stretches = parts, stretches
        return True

    def cut(self, number: int, count: int) -> None:
        """Take bytes from the end of a stretch, ``count`` as libjpeg counts what it passes over: FF 00 is
        two, any other FF none."""
        body = bytes(self.parts[self.stretches[number]])
        end = len(body)
        while end and count > 0:
            stuffed = body[end - 2 : end] == b"\xff\x00"
            count -= 2 if stuffed else int(body[end - 1] != 0xFF)
            end -= 2 if stuffed else 1
        self.parts[self.stretches[number]] = body[:end]


def take_apart(data: bytes, name: str) -> Stream:
    """The stream of a JPEG whose header :func:`jpeg.read` accepts.

    Raises :class:`DecodeError` where scans are missing, or the data is too short for the picture.
    """
    frame = next(_frame(data[start:end]) for m, start, end in jpeg.segments(data, name) if m in jpeg.SOF)
    stream, view = Stream(frame, [data[:2]]), memoryview(data)
    at, between, stored, ended = 2, 0, 0, False
    for marker, start, end in jpeg.segments(data, name):
        between += len(data[at:start].rstrip(b"\xff"))
        at = end
        if marker in _KEPT:
            stream.parts.append(_put_right(data[start:end], frame, stream.notes))
        if marker == jpeg.SOS:
            frame.take(data[start + 4 : end])
            at = jpeg.scan_end(data, end)
            # Fill bytes, or half of an end marker, are left out.
            stop = end + len(data[end:at].rstrip(b"\xff"))
            stream.stretches.append(len(stream.parts))
            stream.parts.append(view[end:stop])
            stored += stop - end
            ended = data[at : at + 2] == _EOI
            if not ended and not frame.missing():
                break  # all has come; what follows is no part of the picture
    if stored < frame.least_bytes:
        least = frame.least_bytes
        raise damaged(name, f"the JPEG's picture takes at least {least} bytes, {stored} are there")
    if missing := frame.missing():
        raise damaged(name, f"the JPEG's compressed data is damaged ({missing})")
    stream.notes += [f"{between} bytes between segments"] if between else []
    stream.notes += [] if ended else ["no end marker behind the picture"]
    stream.small_head = _small_head(stream)
    return stream


def _frame(segment: bytes) -> _Frame:
    listed = segment[10 : 10 + 3 * segment[9]]
    factors = [(factor >> 4, factor & 15) for factor in listed[1::3]]
    unit = (8, 8)
    if len(factors) > 1:
        unit = (8 * max(h for h, _ in factors), 8 * max(v for _, v in factors))
    components = {component: [64] * 64 for component in listed[::3]}
    height, width = struct.unpack_from(">HH", segment, 5)
    return _Frame(segment[1], components, unit, jpeg.least_bytes(segment[1], segment[4:]), height * width)


def _small_head(stream: Stream) -> list[_Part] | None:
    frame = stream.frame
    head = stream.parts[: stream.stretches[0]]
    interval = next((int.from_bytes(part[4:6], "big") for part in head if part[1] == _DRI), 0)
    width = interval * frame.unit[0]
    if frame.marker not in _SEQUENTIAL or len(stream.stretches) > 1 or not 0 < width <= 65500:
        return None
    size = struct.pack(">HH", 2 * frame.unit[1], width)
    return [b"".join([p[:5], size, p[9:]]) if p[1] in jpeg.SOF else p for p in head]


def _put_right(segment: bytes, frame: _Frame, notes: list[str]) -> bytes:
    """The segment with what libjpeg would warn of written as libjpeg then takes it."""
    changed = bytearray(segment)
    if segment[1] == _JFIF and segment[4:9] == b"JFIF\0" and segment[9:10] not in (b"", b"\1"):
        changed[9] = 1
        notes.append(f"unknown JFIF revision {segment[9]}")
    elif segment[1] == _ADOBE and segment[4:9] == b"Adobe" and len(segment) > 15:
        # Of 3 channels 1 is YCbCr, of 4 channels 2 is YCCK; 0 is neither.
        taken_for = {3: 1, 4: 2}.get(len(frame.components), 0)
        if segment[15] not in (0, taken_for) and taken_for:
            changed[15] = taken_for
            notes.append(f"unknown Adobe colour transform {segment[15]}")
    elif segment[1] == jpeg.SOS and frame.marker in _SEQUENTIAL and segment[-3:] != _ALL_AT_ONCE:
        changed[-3:] = _ALL_AT_ONCE
        notes.append("scan parameters that a sequential JPEG cannot have")
    return bytes(changed)
