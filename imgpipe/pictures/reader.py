"""Decodes stored pictures that are to be shown.

Sources are decoded where ``isolation`` says, as the engine does; files that imgpipe wrote in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Self, TypeVar

from imgpipe.config import Settings
from imgpipe.errors import PER_IMAGE_ERRORS
from imgpipe.host import usable_cores
from imgpipe.images.decoder import source_decoder
from imgpipe.pictures.picture_set import PictureSet
from imgpipe.records import ImageRow
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe.storage.opening import Stores
from imgpipe.storage.store import ImageStore

if TYPE_CHECKING:
    from imgpipe.images.image import Image

#: Images with a picture above this many pixels are worked on one at a time.
LARGE_PX = 40_000_000
_THREADS = 4

Key = TypeVar("Key")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Decodes the main pictures of rows.

    ``isolation``, ``workers``: where sources are decoded and by how many processes (0: one per core).
    """

    source: ImageStore
    output: ImageStore
    limits: LimitSettings
    isolation: IsolationSettings
    workers: int = 0

    @classmethod
    def of(cls, settings: Settings, stores: Stores) -> Self:
        """The reader of a data set."""
        return cls(stores.source, stores.output, settings.limits, settings.isolation, settings.workers)

    def read(self, row: ImageRow) -> Image:
        """The picture that ``row.output_key`` names, from the store that the row names.

        Raises one of :data:`~imgpipe.errors.PER_IMAGE_ERRORS` where it cannot be read or decoded,
        :class:`ObjectChanged` for a source of another version; :class:`StoreUnavailable`.
        """
        if row.output_store == "output":
            return read_own_file(self.output, row.output_key, self.limits)
        data = self.source.read(row.output_key, etag=row.etag or None)
        decoder = source_decoder(self.isolation, self.workers)
        return decoder.decode(data, name=self.source.uri(row.output_key), limits=self.limits)


@dataclass(frozen=True, slots=True)
class OpenPictures:
    """The pictures of one image, each decoded once."""

    pictures: PictureSet
    reader: PictureReader
    _images: dict[tuple[str, str], Image] = field(default_factory=dict)

    def get(self, row: ImageRow) -> Image:
        """As :meth:`PictureReader.read`."""
        place = (row.output_store, row.output_key)
        if place not in self._images:
            self._images[place] = self.reader.read(row)
        return self._images[place]

    def get_or_reason(self, row: ImageRow) -> Image | str:
        """The picture, or in words why it cannot be read."""
        try:
            return self.get(row)
        except PER_IMAGE_ERRORS as exc:
            return f"{type(exc).__name__}: {exc}"


def read_own_file(output: ImageStore, key: str, limits: LimitSettings) -> Image:
    """A picture that imgpipe wrote, decoded in this process with the limits for such files."""
    from imgpipe.images.decode import decode

    return decode(output.read(key), name=output.uri(key), limits=limits.for_own_files())


def for_each_image(
    job: Callable[[PictureSet], Made],
    wanted: Mapping[Key, PictureSet],
    each: Callable[[], None] = lambda: None,
) -> dict[Key, Made]:
    """Key -> what ``job`` makes of the image; ``each`` is called after every one.

    Images of small pictures are worked on by several threads, then those above :data:`LARGE_PX` one after
    another, which bounds the memory.
    """
    small = [key for key, pictures in wanted.items() if pictures.pixels <= LARGE_PX]
    large = [key for key, pictures in wanted.items() if pictures.pixels > LARGE_PX]
    done: dict[Key, Made] = {}
    with ThreadPoolExecutor(min(_THREADS, usable_cores()), "imgpipe-pictures") as pool:
        made = chain(pool.map(job, (wanted[key] for key in small)), (job(wanted[key]) for key in large))
        for key, one in zip((*small, *large), made, strict=True):
            done[key] = one
            each()
    return done
