"""The decoder of sources, kept for the life of the process so that its workers stay warm."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from imgpipe.settings import IsolationSettings

if TYPE_CHECKING:
    from imgpipe.images.isolation import Decoder

_warm: dict[tuple[IsolationSettings, int, int], Decoder] = {}
_lock = threading.Lock()


def source_decoder(settings: IsolationSettings, workers: int) -> Decoder:
    """A decoder of at most ``workers`` processes; the same arguments give the same one, still running."""
    from imgpipe.images.isolation import open_decoder

    key = (settings, workers, os.getpid())
    with _lock:
        if key not in _warm:
            decoder = open_decoder(settings, workers)
            atexit.register(decoder.close)
            _warm[key] = decoder
        return _warm[key]
