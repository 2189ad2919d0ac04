"""The protocol of an object store: the same eight operations for a folder, S3 and memory.

Keys are relative, ``/``-separated names as in ``matted/demo/00000/girl-1f3a9c0b2d.png``. Objects are read
and written whole; a writer's bytes are seen completely or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from imgpipe.errors import ObjectUnreadable
from imgpipe.records import SourceObject

HIDDEN = "hidden names (a part begins with a dot)"
DOTTED = "names with a part . or .."
#: Content types of the files that imgpipe writes, for browsers.
_CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
#: Names of each kind that are kept for people to see.
_MAX_NAMES = 20


@dataclass
class LeftOut:
    """What is not taken for a source: reason -> how many, and the first names. A folder counts once."""

    counts: dict[str, int] = field(default_factory=dict)
    _names: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one; equal names are named once."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, {})
        if len(names) < _MAX_NAMES:
            names[name] = None

    def count(self, reason: str) -> int:
        """How many were left out for this reason."""
        return self.counts.get(reason, 0)

    def names(self, reason: str) -> tuple[str, ...]:
        """Up to 20 of them, in the order in which they were found."""
        return tuple(self._names.get(reason, ()))

    def describe(self, shown: int = 3) -> list[str]:
        """One line for each reason, with its number and the first names."""
        return [
            f"{reason} ({count:,}): " + ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
            for reason, count in self.counts.items()
            if (names := self.names(reason))
        ]


class ImageStore(Protocol):
    """A place for objects. Safe to use from several threads at once.

    Every method raises :class:`~imgpipe.errors.StoreUnavailable` where the store as a whole does not
    answer, and :class:`~imgpipe.errors.ObjectUnreadable` for a key that the store cannot hold.
    """

    @property
    def url(self) -> str:
        """Where the store is, without a trailing slash: an absolute folder or ``s3://bucket/prefix``."""

    def read(self, key: str, *, etag: str | None = None) -> bytes:
        """The object's bytes.

        Raises ObjectMissing; ObjectChanged where ``etag`` is given and is not the object's (or the
        object changes while it is being read); ObjectUnreadable where this one object is refused.
        """

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        """Store ``data``; raises ObjectExists where there is an object and ``overwrite`` is False.

        Without ``overwrite``, exactly one of several simultaneous writers succeeds.
        """

    def stored_sha256(self, key: str) -> str | None:
        """sha256 (hex) of the bytes, as the store keeps it beside them; ``None`` where it keeps none.

        Raises ObjectMissing.
        """

    def exists(self, key: str) -> bool:
        """Whether :meth:`list` would name this key."""

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: LeftOut | None = None
    ) -> Iterator[SourceObject]:
        """Every object whose key starts with ``prefix``, at any depth, sorted by key (code points).

        Pages are fetched as they are consumed. ``start_after`` leaves out keys up to and including it;
        it need not exist. Hidden names (a part that starts with a dot) are never listed; ``left_out`` counts
        them and whatever else is not listed, as far as the listing is consumed.
        """

    def any_key(self) -> str | None:
        """One of the keys that :meth:`list` names, ``None`` where there is none; one request as a rule."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""

    def uri(self, key: str) -> str:
        """The object's address for people: an absolute file path or ``s3://bucket/key``."""


def check_key(key: str) -> tuple[str, ...]:
    """The key's parts; raises :class:`ObjectUnreadable` for one that no folder could hold safely."""
    parts = tuple(key.split("/"))
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise ObjectUnreadable(
            f"{key!r}: expected /-separated names without empty, '.' and '..' parts; rename this object"
        )
    return parts


def content_type(key: str) -> str:
    """The media type of a file that imgpipe writes, by its ending."""
    return _CONTENT_TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream")


def is_hidden(key: str) -> bool:
    """Whether a part of the key starts with a dot, as in ``.git/x.png`` or ``a/.DS_Store``."""
    return key.startswith(".") or "/." in key


def without_hidden(found: Iterable[SourceObject], left_out: LeftOut | None = None) -> Iterator[SourceObject]:
    """Those whose key is not hidden; the others are added to ``left_out``."""
    for each in found:
        if not is_hidden(each.key):
            yield each
        elif left_out is not None:
            dotted = {".", ".."} & set(each.key.split("/"))
            left_out.add(DOTTED if dotted else HIDDEN, each.key)
