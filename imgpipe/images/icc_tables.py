"""ICC profiles that are tables: what their values show, by Little CMS in a worker process.

Profiles are foreign bytes, also in files that imgpipe wrote: those carry their source's.
"""

from __future__ import annotations

from imgpipe.images.isolation import kept_decoder
from imgpipe.images.srgb import Floats
from imgpipe.settings import IsolationSettings

_settings = IsolationSettings()


def use(settings: IsolationSettings) -> None:
    """Evaluate profiles as files are decoded: in workers, or for ``isolation.mode=none`` in this process."""
    global _settings
    _settings = settings


def linear_srgb(icc: bytes, values: Floats) -> Floats:
    """As :func:`imgpipe.images.lcms.linear_srgb`; besides, :class:`DecodeError` where the worker ends."""
    if _settings.mode == "none":
        from imgpipe.images import lcms

        return lcms.linear_srgb(icc, values)
    return kept_decoder(_settings).linear_srgb(icc, values)
