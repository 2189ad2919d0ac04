"""A store in memory, for commands on one image and for tests."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator

from imgpipe.errors import ObjectChanged, ObjectExists, ObjectMissing
from imgpipe.records import SourceObject
from imgpipe.storage.store import LeftOut, check_key, is_hidden, without_hidden


class MemoryStore:
    """An :class:`~imgpipe.storage.store.ImageStore` in a dictionary; the etag is the bytes' digest.

    ``name`` becomes its address, ``memory://<name>``; without one every store has an address of its own.
    ``shown``: what messages call every object in it.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str | None = None, *, shown: str = "") -> None:
        self._shown = shown
        self._url = f"memory://{name or next(self._numbers)}".rstrip("/")
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._url

    def read(self, key: str, *, etag: str | None = None) -> bytes:
        check_key(key)
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise ObjectMissing(f"{self.uri(key)}: no such object")
        if etag is not None and etag != found[1]:
            raise ObjectChanged(f"{self.uri(key)}: expected etag {etag}, found {found[1]}; plan again")
        return found[0]

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        check_key(key)
        value = bytes(data)
        etag = hashlib.sha256(value).hexdigest()[:32]
        with self._lock:
            if not overwrite and key in self._objects:
                raise ObjectExists(f"{self.uri(key)}: exists already; overwriting was not asked for")
            self._objects[key] = (value, etag)

    def stored_sha256(self, key: str) -> str | None:
        return hashlib.sha256(self.read(key)).hexdigest()

    def exists(self, key: str) -> bool:
        with self._lock:
            return key in self._objects and not is_hidden(key)

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: LeftOut | None = None
    ) -> Iterator[SourceObject]:
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix))
        wanted = (key for key in keys if start_after is None or key > start_after)
        yield from without_hidden(filter(None, map(self._found, wanted)), left_out)

    def _found(self, key: str) -> SourceObject | None:
        with self._lock:
            found = self._objects.get(key)
        return found and SourceObject(key, len(found[0]), found[1])

    def any_key(self) -> str | None:
        return next((found.key for found in self.list()), None)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def uri(self, key: str) -> str:
        return self._shown or f"{self._url}/{key}"
