"""JPEG pixels; libjpeg's warnings of damage are errors.

libjpeg continues after damage, fills the rest with grey and only warns, of the first damage alone. Here what
says nothing about the picture is put right first (:mod:`jpeg_stream`), and noted; what libjpeg still warns of
is refused, except for bytes that are left over where the picture, or a stretch of it, is complete.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ImageFile

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.container import damaged
from imgpipe.images.formats.jpeg_stream import Stream, take_apart

_Space = Literal["GRAY", "RGB", "CMYK"]
#: Line feeds that a file has at least, each behind a carriage return, to be taken for one sent as a text.
_LINES = 4
_SPACES: dict[int, _Space] = {1: "GRAY", 4: "CMYK"}
#: jerror.h's JWRN_EXTRANEOUS_DATA.
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker")
_ADDED = bytes(64)
_READ_AHEAD = 8
#: An arithmetic decoder puts zeros in place of data that is missing, without a warning. Of bytes that are
#: added to whole data it reports 61 and more: encoders leave out zeros at the end (T.81, D.1.8).
_ARITHMETIC, _ADDED_REPORTED = (b"\xff\xc9", b"\xff\xca"), len(_ADDED) - 4
#: At most, to find where bytes are left over: some ten seconds.
_SEARCH_PIXELS, _MAX_TESTS = 1 << 31, 1 << 17
#: Zeros in place of missing data decode as some picture, so hardly more than these can be part of a true one.
#: The end of a scan is reported up to eight bytes short, which libjpeg has read ahead.
_ZEROS_NEEDED = 16


def decode_jpeg(data: bytes, name: str) -> tuple[npt.NDArray[np.uint8], str, tuple[str, ...]]:
    """(height, width, 1, 3 or 4) uint8, ``GRAY``, ``RGB`` or ``CMYK``, and notes.

    CMYK is 255 for full ink: files hold it inverted, as Adobe's programs write it. Raises
    :class:`DecodeError` where libjpeg warns of damage, :class:`UnsupportedFormat` for sampling factors and
    colours that it cannot convert; the decoder's RuntimeError passes.
    """
    stream = take_apart(data, name)
    space = _SPACES.get(len(stream.frame.components), "RGB")
    decode = partial(simplejpeg.decode_jpeg, colorspace=space)
    doubts = []
    try:
        pixels = decode(stream.data())
        if any(part[:2] in _ARITHMETIC for part in stream.parts):
            _Search(stream, space).refuse_if_short(name)
    except ValueError as exc:
        if "Unsupported color conversion" in str(exc):
            raise _unsupported(name, str(exc)) from exc
        if "subsampling" in str(exc):
            pixels = _rarely_sampled(stream, space, name)
            doubts.append("rare sampling factors in the JPEG: damage within its data would not be noticed")
        elif not _LEFT_OVER.search(str(exc)) or not stream.split():
            raise _damage(name, str(exc)) from exc
        else:
            before, behind = _Search(stream, space).take_out(name)
            try:
                pixels = decode(stream.data())
            except ValueError as still:
                raise _damage(name, str(still)) from still
            stream.notes += [f"{before} bytes before restart markers or between scans"] if before else []
            stream.notes += [f"{behind} bytes behind the picture"] if behind else []
    lines = data.count(b"\n")
    if stream.notes and lines >= _LINES and lines == data.count(b"\r\n"):
        raise damaged(name, "each byte 0A of the JPEG has a 0D before it, as when a file is sent as a text")
    if zeros := stream.unlikely_zeros():
        doubts.append(f"the JPEG's data ends in {zeros} zero bytes: its last pixels may be lost")
    notes = *(f"harmless oddity in the JPEG: {note}" for note in stream.notes), *doubts
    return (~pixels if space == "CMYK" else pixels), space, notes


def _rarely_sampled(stream: Stream, space: _Space, name: str) -> npt.NDArray[np.uint8]:
    """By Pillow: simplejpeg takes no sampling factors that it has no name for.

    Pillow passes libjpeg's warnings over, but stops where data is missing. So it is given no end marker: with
    what it reads ahead added, the data must suffice, without its last bytes it must not.
    """
    if space == "CMYK":
        raise _unsupported(name, "CMYK of rare sampling factors")
    data = b"".join(stream.parts)
    try:
        pixels = _by_pillow(data + bytes(_READ_AHEAD))
    except OSError as exc:
        if "truncated" in str(exc):
            raise _damage(name, str(exc)) from exc
        raise _unsupported(name, "rare sampling factors") from exc
    try:
        _by_pillow(data[: -2 * _READ_AHEAD])
    except OSError:
        return pixels
    raise _damage(name, "it holds more than its picture")


def _by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """Raises ``OSError`` where the data ends before the picture."""
    parser = ImageFile.Parser()
    parser.feed(data)
    return np.array(parser.close())


class _Search:
    """Looks for bytes that are left over in the stretches of a stream, in their order.

    libjpeg says how many, but reports a few bytes only with those of a later stretch, and nothing behind its
    first warning. So a stretch is tested as the last of a file, and with bytes added, which are reported
    together with what is left over.
    """

    def __init__(self, stream: Stream, space: _Space) -> None:
        self.stream, self.space = stream, space
        self.tests_left = _MAX_TESTS if stream.small_head else _SEARCH_PIXELS // stream.frame.pixels

    def take_out(self, name: str) -> tuple[int, int]:
        """How many bytes were cut: before markers, and behind the picture."""
        last, before, behind = len(self.stream.stretches) - 1, 0, 0
        for number in range(last + 1):
            while count := self._left_over(number):
                if number < last:
                    before += count
                elif self.stream.zeros_at_end() - count > _ZEROS_NEEDED:
                    raise _damage(name, "it ends in zeros in place of the rest of the picture")
                else:
                    behind += count
                self.stream.cut(number, count)
                if self.stream.small_head is None and not self._reported(last, b""):
                    return before, behind  # no other is warned of
        return before, behind

    def refuse_if_short(self, name: str) -> None:
        """Raise :class:`DecodeError` where the decoder takes added bytes for the rest of the picture."""
        if self._reported(len(self.stream.stretches) - 1, _ADDED) < _ADDED_REPORTED:
            raise _damage(name, "its arithmetic code ends early")

    def _left_over(self, number: int) -> int:
        """Exact before a restart marker; at a scan's end those that libjpeg warns of without addition."""
        together = self._reported(number, _ADDED)
        return max(together - len(_ADDED), 0) or self._reported(number, b"")

    def _reported(self, number: int, added: bytes) -> int:
        self.tests_left -= 1
        if self.tests_left < 0:
            return 0  # what is left over then stays in the file, which is refused
        try:
            excerpt = self.stream.excerpt(number, added)
            simplejpeg.decode_jpeg(excerpt, colorspace=self.space, min_factor=8)
        except ValueError as exc:
            found = _LEFT_OVER.search(str(exc))
            return int(found[1]) if found else 0
        return 0


def _damage(name: str, why: str) -> DecodeError:
    return damaged(name, f"the JPEG's compressed data is damaged ({why})")


def _unsupported(name: str, what: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{name}: this JPEG is of a kind that its decoder does not know ({what}); convert it"
    )
