"""Pixels of files that were just written, for the next step that reads the file: it unpacks nothing.

A step in the same process reads a file's bytes and takes their sha256 as ever; what it finds here under that
digest is what those bytes were packed from. What is kept lies within the memory that admission has to give
(:mod:`imgpipe.engines.admission`), and gives way to the images in flight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from imgpipe.images.image import Pixels


class KeptPixels:
    """sha256 (hex) of a file -> the pixels that it holds, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pixels: OrderedDict[str, Pixels] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def keep(self, sha256: str, pixels: Pixels, most_bytes: int) -> None:
        """Keep them until they are taken, in place of the oldest where all would be above ``most_bytes``."""
        with self._lock:
            self._drop(self._pixels.pop(sha256, None))
            self._pixels[sha256] = pixels
            self.held_bytes += pixels.nbytes
            self._shrink(most_bytes)

    def take(self, sha256: str) -> Pixels | None:
        """The pixels, which are let go; ``None`` where they are not there."""
        with self._lock:
            return self._drop(self._pixels.pop(sha256, None))

    def shrink(self, most_bytes: int) -> None:
        """Let the oldest go until no more than this is held."""
        with self._lock:
            self._shrink(most_bytes)

    def _shrink(self, most_bytes: int) -> None:
        while self._pixels and self.held_bytes > most_bytes:
            self._drop(self._pixels.popitem(last=False)[1])

    def _drop(self, pixels: Pixels | None) -> Pixels | None:
        self.held_bytes -= 0 if pixels is None else pixels.nbytes
        return pixels


#: Of this process.
KEPT = KeptPixels()
