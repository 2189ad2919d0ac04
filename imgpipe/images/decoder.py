"""Where files are decoded: in worker processes, or in this one."""

from __future__ import annotations

from imgpipe.images import icc_tables
from imgpipe.images.container import Header
from imgpipe.images.image import Image, Pixels
from imgpipe.images.isolation import IsolatedDecoder, kept_decoder
from imgpipe.settings import IsolationSettings, LimitSettings


class InProcessDecoder:
    """Decodes in the calling thread: faster, for trusted sources and imgpipe's own files. Methods as
    :class:`~imgpipe.images.isolation.IsolatedDecoder`'s."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings, pixels: Pixels | None = None) -> Image:
        from imgpipe.images.decode import decode

        return decode(data, name=name, limits=limits, pixels=pixels)

    def header(self, data: bytes, *, name: str) -> Header:
        from imgpipe.images.header import describe

        return describe(data, name)


Decoder = InProcessDecoder | IsolatedDecoder


def source_decoder(settings: IsolationSettings, workers: int = 0) -> Decoder:
    """What decodes foreign files: :func:`~imgpipe.images.isolation.kept_decoder` for
    ``isolation.mode=process``, the calling thread for ``none``.

    From then on ICC profiles that are tables are evaluated in the same mode.
    """
    icc_tables.use(settings)
    return InProcessDecoder() if settings.mode == "none" else kept_decoder(settings, workers)
