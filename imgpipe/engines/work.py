"""One image to compute: which stored pictures go in, and what its row and its files are to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imgpipe.records import ImageRow
from imgpipe.settings import LimitSettings
from imgpipe.storage.store import ImageStore


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One stored picture, and the etag, digest and size (bytes) that it is expected to have.

    ``own``: imgpipe wrote it, so it is decoded in this process and not in a worker process.
    """

    store: ImageStore
    key: str
    limits: LimitSettings
    etag: str | None = None
    sha256: str = ""
    size_bytes: int = 0
    own: bool = False


def nothing() -> None:
    """What an item does at its begin."""


def tell_nobody(row: ImageRow) -> None:
    """What an item does at its end."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One image to compute: ``base`` is the row to be filled in, ``key_of`` names its files by kind
    and extension.

    ``stage_hash_of``: the row's ``stage_hash``, of the digests by role and the main picture's format.
    ``begin`` is called before anything is done with it, ``end`` with its row, by the thread that made it and
    before that takes up another item.
    ``unchanged``: the finished row, where the bytes that are read have its ``input_sha256``.
    """

    base: ImageRow
    inputs: Mapping[str, ObjectRef]
    rows: Mapping[str, ImageRow]
    key_of: Callable[[str, str], str]
    stage_hash_of: Callable[[Mapping[str, str], str], str]
    begin: Callable[[], None] = nothing
    end: Callable[[ImageRow], None] = tell_nobody
    unchanged: ImageRow | None = None

    def twin(self, role: str) -> str:
        """The first role that has the same file."""
        ref = self.inputs[role]
        return next(
            other for other, one in self.inputs.items() if one.store is ref.store and one.key == ref.key
        )
