"""The decoder of foreign files, kept for the life of the process so that its workers stay warm."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from imgpipe.settings import IsolationSettings

if TYPE_CHECKING:
    from imgpipe.images.decoder import Decoder

_warm: dict[tuple[IsolationSettings, int, int], Decoder] = {}
_lock = threading.Lock()


def source_decoder(settings: IsolationSettings, workers: int = 0) -> Decoder:
    """A decoder of at most ``workers`` processes, 0 for one per core; never more than there are cores.

    The same arguments give the same decoder, still running.
    """
    from imgpipe.images.decoder import open_decoder

    cores = os.cpu_count() or 1
    places = min(workers or cores, cores)
    key = (settings, places, os.getpid())
    with _lock:
        if key not in _warm:
            decoder = open_decoder(settings, places)
            atexit.register(decoder.close)
            _warm[key] = decoder
        return _warm[key]
