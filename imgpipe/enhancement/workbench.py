"""Encodes one picture repeatedly; records every attempt, and why a format was not used."""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.enhancement.enhance import resample
from imgpipe.enhancement.formats import Encoding, write
from imgpipe.errors import EncodeError
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel

#: Encodings tried for one picture, all steps together. Pictures take 1 to 9; the rest is for limits of a
#: hundredth of their size and for sizes that follow no law.
MAX_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class Attempt:
    """One encoding that was tried.

    ``quality``: 90..100, ``None`` = lossless. ``scale``: its longer side over that of the picture to be
    saved. ``bytes``: the size of the file. ``effort``: how hard a lossless encoder was told to try.
    """

    format: str
    quality: int | None
    scale: float
    bytes: int
    effort: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A file that could be the result, and the picture in it."""

    encoding: Encoding
    image: Image
    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)


class Workbench:
    """Encodes ``image``; other sizes are made from ``source`` where that is given, in one resize."""

    def __init__(self, image: Image, source: Image | None, kernel: Kernel) -> None:
        self.image = image
        self.attempts: list[Attempt] = []
        self.passed_over: dict[str, str] = {}
        #: Full size, by encoding: bytes of what was tried.
        self.sizes: dict[Encoding, int] = {}
        self.smallest: Candidate | None = None
        self._source = source or image
        self._kernel = kernel

    @property
    def attempts_left(self) -> int:
        return MAX_ATTEMPTS - len(self.attempts)

    @property
    def long_side(self) -> int:
        return max(self.image.width, self.image.height)

    @property
    def metadata_bytes(self) -> int:
        """About what of a file does not shrink with the picture."""
        return sum(len(block or b"") for block in (self.image.icc, self.image.exif, self.image.xmp))

    def make(self, encoding: Encoding, long_side: int | None = None) -> Candidate | None:
        """The file at full size, or with a longer side of ``long_side`` px.

        ``None`` where the format cannot hold the picture; it is not tried again then.
        """
        if encoding.format in self.passed_over:
            return None
        side = long_side or self.long_side
        image = self._at(side)
        try:
            data = write(image, encoding)
        except EncodeError as exc:
            self.passed_over[encoding.format] = str(exc)
            return None
        effort = encoding.effort if encoding.lossless else ""
        scale = side / self.long_side
        self.attempts.append(Attempt(encoding.format, encoding.quality, scale, len(data), effort))
        if side == self.long_side:
            self.sizes[encoding] = len(data)
        candidate = Candidate(encoding, image, data)
        if self.smallest is None or len(data) < self.smallest.size_bytes:
            self.smallest = candidate
        return candidate

    def size_at(self, long_side: int) -> tuple[int, int]:
        """(width, height) px with the longer side of ``long_side`` px, the other one rounded half up."""
        whole = self.long_side
        width, height = (
            max(1, (2 * side * long_side + whole) // (2 * whole))
            for side in (self.image.width, self.image.height)
        )
        return width, height

    def _at(self, long_side: int) -> Image:
        if long_side == self.long_side:
            return self.image
        return resample(self._source, *self.size_at(long_side), self._kernel)
