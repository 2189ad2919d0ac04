"""ICC profiles that are tables: what their values show, by Little CMS in a worker process.

Profiles are foreign bytes, also in files that imgpipe wrote: those carry their source's. The worker is not
one of the decoders', since pictures are converted long after they were decoded. It starts with the first such
profile, which is rare.
"""

from __future__ import annotations

import atexit
import os
import threading

import numpy as np

from imgpipe.errors import ProfileUnusable
from imgpipe.images.isolation import WorkerPool
from imgpipe.images.isolation.channel import Buffer
from imgpipe.images.srgb import Floats
from imgpipe.settings import IsolationSettings

_settings = IsolationSettings()
_pools: dict[tuple[IsolationSettings, int], WorkerPool] = {}
_lock = threading.Lock()


def use(settings: IsolationSettings) -> None:
    """Evaluate profiles as files are decoded: in workers, or for ``isolation.mode=none`` in this process."""
    global _settings
    _settings = settings


def linear_srgb(icc: bytes, values: Floats) -> Floats:
    """As :func:`imgpipe.images.lcms.linear_srgb`; besides, :class:`DecodeError` where the worker ends."""
    if _settings.mode == "none":
        from imgpipe.images import lcms

        return lcms.linear_srgb(icc, values)
    given = np.ascontiguousarray(values, np.float32)
    arguments = {"icc_bytes": len(icc), "shape": given.shape}
    bulk: list[Buffer] = [icc, given.data.cast("B")]
    shown = _pool().ask(np.ndarray, "linear_srgb", bulk, "an ICC profile", arguments)
    if shown.shape != given.shape or shown.dtype != np.float32 or not np.isfinite(shown).all():
        raise ProfileUnusable("it gives numbers that are not finite, or not as many as are needed")
    return shown


def _pool() -> WorkerPool:
    """Kept for the life of the process; one for each, since it is not to be used after a fork."""
    key = (_settings, os.getpid())
    with _lock:
        if key not in _pools:
            _pools[key] = WorkerPool(_settings, os.cpu_count() or 1)
            atexit.register(_pools[key].close)
        return _pools[key]
