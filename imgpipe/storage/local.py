"""A folder as an object store.

Writing
    The bytes go to a hidden temporary file in the target's own folder, which then takes the target's
    name: by ``rename`` where overwriting is asked for, by ``link`` (which fails where the name is taken)
    where it is not. A reader sees the old bytes, the new ones, or nothing. This holds for crashed
    programs; files are not flushed to the disk one by one, so a power cut may empty the newest ones.

Etags
    Modification time in ns and size, both in hex. Writing through this class always changes them; another
    program that rewrites a file with equal size within one tick of the file system's clock, or that
    resets the time, is not noticed.

Links
    As ``follow_links`` says (:mod:`imgpipe.storage.links`); one that is not followed is not listed, and
    refused when read. A link that is followed is what it leads to, under another key. Writing never follows
    a link out of the root.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from imgpipe.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectUnreadable,
    StoreUnavailable,
)
from imgpipe.records import SourceObject
from imgpipe.storage.file_names import file_name, key_part
from imgpipe.storage.links import SPECIAL, FollowLinks, Target, follow
from imgpipe.storage.local_errors import NOT_THERE, translated
from imgpipe.storage.store import HIDDEN, LeftOut, check_key, is_hidden

Entries = list[tuple[str, "os.DirEntry[str]"]]
_LOG = logging.getLogger(__name__)
_TEMPORARY = ".imgpipe-tmp-"
_LOCK = ".imgpipe-lock"

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """An :class:`~imgpipe.storage.store.ImageStore` over an existing folder."""

    def __init__(self, root: Path | str, follow_links: FollowLinks = "inside") -> None:
        self._root = Path(root).resolve()
        self._follow_links = follow_links

    @property
    def url(self) -> str:
        return str(self._root)

    def uri(self, key: str) -> str:
        return f"{str(self._root).rstrip('/')}/{key}"

    def read(self, key: str, *, etag: str | None = None) -> bytes:
        path = self.path(key)
        try:
            self._require_inside(key, path)
            # Non-blocking, or opening a named pipe would wait for a writer for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise ObjectMissing(f"{self.uri(key)}: expected a file, it is a folder or a device")
                self._require_etag(key, before, etag)
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read()
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise translated(exc, self._root, self.uri(key)) from exc
        if _etag(after) != _etag(before):
            raise ObjectChanged(f"{self.uri(key)}: changed while it was being read; run again")
        return data

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        settle = _replace if overwrite else _claim
        self._put(key, lambda temporary: temporary.write_bytes(data), settle)

    def link(self, key: str, file: Path, *, symbolic: bool, overwrite: bool = False) -> None:
        """A link to ``file`` in place of a copy; raises as :meth:`write`."""
        make = partial(os.symlink if symbolic else os.link, file)
        self._put(key, make, Path.replace if overwrite else lambda _, path: make(path))

    def _put(self, key: str, make: Callable[[Path], object], settle: Callable[[Path, Path], object]) -> None:
        """Make a temporary file beside the key's, and give it its name."""
        path = self.path(key)
        temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            self._require_folder_inside(path.parent)
            try:
                make(temporary)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                make(temporary)
            settle(temporary, path)
        except FileExistsError as exc:
            raise ObjectExists(f"{self.uri(key)}: exists already; overwriting was not asked for") from exc
        except OSError as exc:
            raise translated(exc, self._root, self.uri(key), writing=True) from exc
        finally:
            _remove(temporary)

    def stored_sha256(self, key: str) -> str | None:
        return None

    def exists(self, key: str) -> bool:
        path = self.path(key)
        try:
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                target = self._follow(path)
                if target.info is None:
                    return False
                info = target.info
        except OSError as exc:
            if exc.errno in NOT_THERE | {errno.ENAMETOOLONG} and self._root.is_dir():
                return False
            raise translated(exc, self._root, self.uri(key)) from exc
        listed = stat.S_ISREG(info.st_mode) and not is_hidden(key)
        return listed and self._is_listed_folder(key[: key.rfind("/") + 1])

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: LeftOut | None = None
    ) -> Iterator[SourceObject]:
        out = LeftOut() if left_out is None else left_out
        folder = prefix[: prefix.rfind("/") + 1]
        if folder and not self._is_listed_folder(folder):
            return
        # An explicit stack: folders may be nested deeper than Python may recurse.
        stack = [iter(self._entries(folder, prefix, out))]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
                continue
            key, entry = item
            if key.endswith("/"):
                if key.startswith(prefix) and not _all_before(key, start_after):
                    stack.append(iter(self._entries(key, prefix, out)))
            elif key.startswith(prefix) and (start_after is None or key > start_after):
                found = self._describe(key, entry)
                if found is not None:
                    yield found

    def any_key(self) -> str | None:
        return next((found.key for found in self.list()), None)

    def delete(self, key: str) -> None:
        path = self.path(key)
        try:
            self._require_folder_inside(path.parent)
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as exc:
            raise translated(exc, self._root, self.uri(key), writing=True) from exc

    def path(self, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self._root.joinpath(*(file_name(part) for part in check_key(key)))

    def _follow(self, link: Path) -> Target:
        return follow(link, self._root, self._follow_links)

    def _is_listed_folder(self, folder: str) -> bool:
        """Whether listing from the root would come to this folder (``""``, or ending in ``/``)."""
        try:
            path = self.path(folder.removesuffix("/")) if folder else self._root
            if is_hidden(folder) or path.resolve() == path:
                return not is_hidden(folder)
            above = reversed([path, *path.parents])
            links = [one for one in above if one.is_relative_to(self._root) and one.is_symlink()]
            return all(self._follow(one).is_folder for one in links)
        except (ObjectUnreadable, RuntimeError, OSError):  # no key starts like this; a link to itself
            return False

    def _entries(self, folder: str, prefix: str, out: LeftOut) -> Entries:
        """(key, entry) of a folder in the order of **complete** keys: folders count with their slash."""
        path = self.path(folder.removesuffix("/")) if folder else self._root
        try:
            with os.scandir(path) as entries:
                by_name = sorted(entries, key=lambda entry: entry.name)
                named = [(self._listed_key(folder, entry, prefix, out), entry) for entry in by_name]
        except OSError as exc:
            if exc.errno in NOT_THERE and self._root.is_dir():
                return []  # removed while listing, or a prefix that nothing has
            # Skipping it would make every source below look deleted.
            raise StoreUnavailable(
                f"{path}: this folder cannot be listed: {exc.strerror}; check its permissions and disk"
            ) from exc
        return sorted((item for item in named if item[0]), key=lambda item: item[0])

    def _listed_key(self, folder: str, entry: os.DirEntry[str], prefix: str, out: LeftOut) -> str:
        """The entry's key, with a slash for a folder; empty where it is left out, which ``out`` counts."""
        key, reason, name = folder + key_part(entry.name), "", ""
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name.startswith("."):
            reason = "" if entry.name.startswith((_TEMPORARY, _LOCK)) else HIDDEN
        elif entry.is_symlink():
            target = self._follow(Path(entry.path))
            is_folder, reason, name = target.is_folder, target.reason, f" -> {target.path}"
        elif not is_folder and not entry.is_file(follow_symlinks=False):
            reason = SPECIAL
        key += "/" if is_folder else ""
        if reason and key.startswith(prefix):
            out.add(reason, key + name)
        return "" if reason or entry.name.startswith(".") else key

    def _describe(self, key: str, entry: os.DirEntry[str]) -> SourceObject | None:
        try:
            info = entry.stat()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise translated(exc, self._root, self.uri(key)) from exc
        return SourceObject(key, info.st_size, _etag(info))

    def _require_etag(self, key: str, info: os.stat_result, etag: str | None) -> None:
        if etag is not None and etag != _etag(info):
            raise ObjectChanged(f"{self.uri(key)}: expected etag {etag}, found {_etag(info)}; plan again")

    def _require_inside(self, key: str, path: Path) -> None:
        try:
            target = path.resolve()
        except RuntimeError as exc:
            raise ObjectUnreadable(f"{self.uri(key)}: a link that leads to itself; remove it") from exc
        within = self._root if self._follow_links == "inside" else path
        if self._follow_links != "always" and not target.is_relative_to(within):
            raise ObjectUnreadable(
                f"{self.uri(key)}: a link out of {within}, to {target}, and intake.follow_links is "
                f"{self._follow_links}; set it to always, or put a copy in the link's place"
            )

    def _require_folder_inside(self, folder: Path) -> None:
        try:
            inside = folder.resolve().is_relative_to(self._root)
        except RuntimeError:
            inside = False
        if not inside:
            raise StoreUnavailable(f"{folder}: leads out of {self._root} by a link; replace it by a folder")


def _etag(info: os.stat_result) -> str:
    return f"{info.st_mtime_ns:x}-{info.st_size:x}"


def _all_before(folder: str, start_after: str | None) -> bool:
    """Whether every key below ``folder`` is at or before ``start_after``."""
    return start_after is not None and start_after > folder and not start_after.startswith(folder)


def _replace(temporary: Path, path: Path) -> None:
    """Two writes within one tick of the clock must still differ in their etags."""
    with suppress(OSError):  # Nothing to be newer than; replacing it tells what is wrong.
        old, new = path.stat(), temporary.stat()
        if new.st_mtime_ns <= old.st_mtime_ns:
            os.utime(temporary, ns=(new.st_atime_ns, old.st_mtime_ns + 1))
    temporary.replace(path)


def _claim(temporary: Path, path: Path) -> None:
    """Give the temporary file the name ``path``; FileExistsError where the name is taken."""
    try:
        path.hardlink_to(temporary)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        # FAT, some network shares: a lock among this machine's processes, freed even by a crash.
        with path.with_name(_LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from exc
            temporary.replace(path)


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError as exc:
        if exc.errno not in NOT_THERE | {errno.ENAMETOOLONG}:
            _LOG.warning("%s: a temporary file could not be removed: %s", temporary, exc)
