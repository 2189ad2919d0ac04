"""Where files are decoded: in worker processes, or in this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from imgpipe.images import icc_tables
from imgpipe.images.container import Header
from imgpipe.images.image import Image
from imgpipe.images.isolation import WorkerPool
from imgpipe.settings import IsolationSettings, LimitSettings


class Decoder(ABC):
    """Decodes sources, in this process or in workers; may be called from several threads at once."""

    @abstractmethod
    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        """As :func:`imgpipe.images.decode.decode`, errors included."""

    @abstractmethod
    def header(self, data: bytes, *, name: str) -> Header:
        """As :func:`imgpipe.images.header.describe`, errors included."""

    def close(self) -> None:  # noqa: B027 -- nothing to end in this process
        """End what was started; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_decoder(settings: IsolationSettings, workers: int) -> Decoder:
    """Up to ``workers`` processes for ``isolation.mode=process``, the calling thread for ``none``.

    From then on ICC profiles that are tables are evaluated in the same mode.

    Raises :class:`ConfigError` where processes cannot be limited (anywhere but on Linux).
    """
    icc_tables.use(settings)
    return InProcessDecoder() if settings.mode == "none" else IsolatedDecoder(settings, workers)


class InProcessDecoder(Decoder):
    """Decodes in the calling thread: faster, for trusted sources and imgpipe's own files."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        from imgpipe.images.decode import decode

        return decode(data, name=name, limits=limits)

    def header(self, data: bytes, *, name: str) -> Header:
        from imgpipe.images.header import describe

        return describe(data, name)


class IsolatedDecoder(WorkerPool, Decoder):
    """Decodes in worker processes; besides, raises what :meth:`WorkerPool.ask` raises."""

    def decode(self, data: bytes, *, name: str, limits: LimitSettings) -> Image:
        return self.ask(Image, "decode", [data], name, {"limits": limits.model_dump()})

    def header(self, data: bytes, *, name: str) -> Header:
        return self.ask(Header, "header", [data], name, {})
