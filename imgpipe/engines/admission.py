"""Admits images to memory: those in flight together never need more than a limit.

What one image needs is known from its files' headers and from the stage
(:meth:`~imgpipe.stages.protocol.MeasuredStage.needed_bytes`) before a pixel is decoded.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import WeakValueDictionary

from imgpipe.engines.kept import KEPT
from imgpipe.engines.stop import STOP
from imgpipe.errors import ImageError, LimitExceeded, ModelError, OutOfMemory
from imgpipe.host import share_of_memory
from imgpipe.inference.admitted_memory import Grow
from imgpipe.inference.device import available_memory_bytes
from imgpipe.settings import LimitSettings
from imgpipe.stages.protocol import MeasuredStage, PictureSize, Stage

if TYPE_CHECKING:
    from imgpipe.images.decoder import Decoder
    from imgpipe.images.image import Image, Pixels

#: What stages that say nothing are taken to need, per pixel of their largest input.
_ASSUMED_BYTES_PER_PIXEL = 64
#: An image that needed this much gives back to the system what the allocator keeps. After smaller ones, whose
#: memory the next one takes over, every page would have to be asked for and cleared anew.
_LARGE_BYTES = 2**30
_WAIT_SECONDS = 0.5
#: What calls under way share, by what it is for.
_shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_sharing = threading.Lock()
T = TypeVar("T")


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """The object for ``key`` that another call under way in this process uses, else a new one."""
    with _sharing:
        found: T = _shared.get(key) or make()
        _shared[key] = found
        return found


def _sizes_of(
    files: Mapping[str, bytes], limits: Mapping[str, LimitSettings], decoders: Mapping[str, Decoder]
) -> dict[str, PictureSize]:
    """Role -> what the file's header says. What has no readable header, or is above its limit of pixels, is
    left out: its decoder refuses it, with its reason."""
    found = {}
    for role, data in files.items():
        try:
            header = decoders[role].header(data, name=role)
        except ImageError:
            continue
        if header.width * header.height <= limits[role].max_pixels:
            depth = 8 if header.bit_depth <= 8 else 16
            found[role] = PictureSize(header.width, header.height, depth, header.converted)
    return found


def needed_bytes(
    stage: Stage,
    files: Mapping[str, bytes],
    limits: Mapping[str, LimitSettings],
    decoders: Mapping[str, Decoder],
) -> int:
    """What one image takes at most, from its encoded files to its encoded results, bytes.

    ``files``, ``limits``, ``decoders``: by role; a header is read where its file will be decoded. Files are
    let go when they are decoded; roles may share one.
    """
    apart = {id(data): role for role, data in files.items()}
    sizes = _sizes_of({role: files[role] for role in apart.values()}, limits, decoders)
    if not sizes:
        return 0
    decoded = sum(size.bytes for size in sizes.values())
    shared = {role: sizes[apart[id(data)]] for role, data in files.items() if apart[id(data)] in sizes}
    if isinstance(stage, MeasuredStage):
        work = stage.needed_bytes(shared)
    else:
        work = _ASSUMED_BYTES_PER_PIXEL * max(size.pixels for size in sizes.values())
    return decoded + max(sum(len(files[role]) for role in sizes), work)


class MemoryBudget:
    """A limit that the needs of the images in flight stay below; whoever waits longest comes next.

    Pixels that are kept for the next step have what is left of it.
    """

    def __init__(self, setting: int | Literal["auto"]) -> None:
        self.limit_bytes = _half_of_free() if setting == "auto" else setting
        self._is_set = setting != "auto"
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def admit(self, needed: int, name: str) -> Iterator[Grow]:
        """Hold ``needed`` bytes of the limit, once they are free; what is given holds more, where it is free.

        Raises :class:`LimitExceeded` where they are more than the configured limit, :class:`OutOfMemory`
        where they are more than this machine has free now, and
        :class:`~imgpipe.engines.stop.Stopped` while waiting.
        """
        if needed > self.limit_bytes:
            raise self._refusal(needed, name)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._used + needed > self.limit_bytes:
                    self._changed.wait(_WAIT_SECONDS)
                    STOP.check()
                self._used += needed
                KEPT.shrink(self.limit_bytes - self._used)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        held = [needed]

        def grow(extra: int) -> bool:
            with self._changed:
                fits = self._used + extra <= self.limit_bytes
                if fits:
                    self._used += extra
                    held[0] += extra
                    KEPT.shrink(self.limit_bytes - self._used)
                return fits

        try:
            yield grow
        finally:
            with self._changed:
                self._used -= held[0]
                self._changed.notify_all()
            if held[0] >= _LARGE_BYTES:
                _give_back()

    def keep(self, key: Hashable, held: Pixels | Image) -> None:
        """Keep what a file holds, as :class:`~imgpipe.engines.kept.KeptPixels`: all of it has what images in
        flight leave of the limit, and half of it at most, as other processes go by what is free too."""
        with self._changed:
            KEPT.keep(key, held, min(self.limit_bytes // 2, self.limit_bytes - self._used))

    def _refusal(self, needed: int, name: str) -> LimitExceeded | OutOfMemory:
        said = f"{name}: needs about {needed:,} bytes of memory, expected at most {self.limit_bytes:,}"
        if self._is_set:
            return LimitExceeded(f"{said} (limits.max_memory_bytes); raise it or reduce the picture")
        return OutOfMemory(
            f"{said} (half of what is free, limits.max_memory_bytes=auto); free memory, set the limit, or "
            "reduce the picture"
        )


def _half_of_free() -> int:
    try:
        free = available_memory_bytes("cpu")
    except ModelError:  # Not Linux: all there is.
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int((free + KEPT.held_bytes) * share_of_memory()) // 2  # What is kept gives way.


def _give_back() -> None:
    """Return the free pages of glibc's allocator to the system; others do it by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
