"""JPEG XL (ISO/IEC 18181-1 codestream headers, 18181-2 container): header and metadata."""

from __future__ import annotations

from imgpipe.images.container import Header, Metadata, damaged, iso_boxes
from imgpipe.images.metadata import screen

_CODESTREAM = b"\xff\x0a"
#: width = height * numerator // denominator, by the code of the aspect ratio.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}

#: How numbers are coded: (what is added, bits that follow), by the first two bits.
_DEPTHS = (8, 0), (10, 0), (12, 0), (1, 6)
_FLOAT_DEPTHS = (32, 0), (16, 0), (24, 0), (1, 6)
_SMALL_PREVIEW = (16, 0), (32, 0), (1, 5), (33, 9)
_PREVIEW = (1, 6), (65, 8), (321, 10), (1345, 12)


class _Bits:
    """Bits from the least significant one on, as the codestream packs them."""

    def __init__(self, data: bytes, name: str) -> None:
        self._value, self._left, self._name = int.from_bytes(data, "little"), 8 * len(data), name

    def take(self, count: int) -> int:
        if count > self._left:
            raise damaged(self._name, "the JPEG XL ends within its header")
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return taken

    def choose(self, *ways: tuple[int, int]) -> int:
        """A number coded in one of four ways: (what is added, bits that follow)."""
        base, count = ways[self.take(2)]
        return base + self.take(count)


def read(data: bytes, name: str) -> tuple[Header, Metadata]:
    """The header (size upright, frames: 2 for an animation, which does not count them) and the EXIF and XMP
    boxes; raises :class:`DecodeError` for a broken structure."""
    if data.startswith(_CODESTREAM):
        return _header(data[2:1024], name), Metadata()
    stream, exif, xmp, notes = b"", None, None, []
    for kind, (start, end) in iso_boxes(data, 0, len(data), name):
        body = data[start : min(end, start + 1024)] if kind in (b"jxlc", b"jxlp") else data[start:end]
        if kind == b"jxlc":
            stream = stream or body
        elif kind == b"jxlp" and not stream:
            stream = body[4:]
        elif kind == b"Exif" and exif is None and len(body) > 4:
            exif = body[4 + int.from_bytes(body[:4], "big") :]
        elif kind == b"xml " and xmp is None:
            xmp = body
        elif kind == b"brob":
            notes.append(f"packed box {body[:4].decode('latin-1')!r} of the JPEG XL not carried")
    if not stream.startswith(_CODESTREAM):
        raise damaged(name, "the JPEG XL container holds no codestream")
    return _header(stream[2:], name), screen(None, exif, xmp, notes)


def _header(stream: bytes, name: str) -> Header:
    bits = _Bits(stream, name)
    width, height = _size(bits)
    orientation, animated, depth = 1, 0, 8
    if not bits.take(1):  # not all by default
        if bits.take(1):
            orientation = 1 + bits.take(3)
            if bits.take(1):
                _size(bits)
            if bits.take(1):
                _skip_preview(bits)
            animated = bits.take(1)
            if animated:
                _skip_animation(bits)
        is_float = bits.take(1)
        depth = bits.choose(*(_FLOAT_DEPTHS if is_float else _DEPTHS))
    if orientation >= 5:  # decoders turn the picture upright
        width, height = height, width
    return Header("JXL", width, height, 2 if animated else 1, depth)


def _size(bits: _Bits) -> tuple[int, int]:
    """SizeHeader (18181-1, D.2): (width, height) px."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def _skip_preview(bits: _Bits) -> None:
    small = bits.take(1)

    def side() -> None:
        bits.choose(*(_SMALL_PREVIEW if small else _PREVIEW))

    side()
    if not bits.take(3):
        side()


def _skip_animation(bits: _Bits) -> None:
    bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
    bits.take(1)
