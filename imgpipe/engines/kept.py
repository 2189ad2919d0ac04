"""Pixels of files that were just written or decoded: the next step that reads the file unpacks nothing.

A step in the same process reads a file's bytes and takes their sha256 as ever; what it finds here under that
digest is what those bytes were packed from, or the whole picture that a source was decoded to under the same
limits. What is kept lies within the memory that admission has to give (:mod:`imgpipe.engines.admission`), and
gives way to the images in flight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from imgpipe.images.image import Image, Pixels


class KeptPixels:
    """What a file holds, oldest first: by the sha256 (hex) of one that was written its pixels, by that of a
    source and its limits the picture. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pixels: OrderedDict[Hashable, Pixels | Image] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def keep(self, key: Hashable, held: Pixels | Image, most_bytes: int) -> None:
        """Keep it until it is taken, in place of the oldest where all would be above ``most_bytes``."""
        with self._lock:
            self._drop(self._pixels.pop(key, None))
            self._pixels[key] = held
            self.held_bytes += _bytes_of(held)
            self._shrink(most_bytes)

    def take(self, key: Hashable) -> Any:
        """What was kept, which is let go; ``None`` where it is not there."""
        with self._lock:
            return self._drop(self._pixels.pop(key, None))

    def shrink(self, most_bytes: int) -> None:
        """Let the oldest go until no more than this is held."""
        with self._lock:
            self._shrink(most_bytes)

    def _shrink(self, most_bytes: int) -> None:
        while self._pixels and self.held_bytes > most_bytes:
            self._drop(self._pixels.popitem(last=False)[1])

    def _drop(self, held: Pixels | Image | None) -> Pixels | Image | None:
        self.held_bytes -= 0 if held is None else _bytes_of(held)
        return held


def _bytes_of(held: Pixels | Image) -> int:
    return held.pixels.nbytes if isinstance(held, Image) else held.nbytes


#: Of this process.
KEPT = KeptPixels()
