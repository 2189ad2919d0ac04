"""Where files are decoded: in worker processes, or in this one."""

from __future__ import annotations

from typing import Protocol

from imgpipe.images import icc_tables
from imgpipe.images.container import Header
from imgpipe.images.image import Image
from imgpipe.images.isolation import kept_decoder
from imgpipe.settings import IsolationSettings, LimitSettings


class Decoder(Protocol):
    """Decodes files; may be called from several threads at once."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        """As :func:`imgpipe.images.decode.decode`, errors included."""

    def header(self, data: bytes, *, name: str) -> Header:
        """As :func:`imgpipe.images.header.describe`, errors included."""


class InProcessDecoder:
    """Decodes in the calling thread: faster, for trusted sources and imgpipe's own files."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        from imgpipe.images.decode import decode

        return decode(data, name=name, limits=limits)

    def header(self, data: bytes, *, name: str) -> Header:
        from imgpipe.images.header import describe

        return describe(data, name)


def source_decoder(settings: IsolationSettings, workers: int = 0) -> Decoder:
    """What decodes foreign files: :func:`~imgpipe.images.isolation.kept_decoder` for
    ``isolation.mode=process``, the calling thread for ``none``.

    From then on ICC profiles that are tables are evaluated in the same mode.
    """
    icc_tables.use(settings)
    return InProcessDecoder() if settings.mode == "none" else kept_decoder(settings, workers)
