"""sha256 of large files, remembered beside them.

A digest that was computed once is kept in ``<file>.digest.json`` and trusted while the file's size and
modification time (in ns) stay the same: hashing 176 MB at every start costs up to a second. Whoever can
write the note can also write the weights, so it is a cache and no protection; ``verify`` never uses it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from imgpipe.errors import ModelError, StorageError
from imgpipe.storage.local import LocalStore

_LOG = logging.getLogger(__name__)

#: Below this size hashing takes some 20 ms and no note is left beside the file.
WORTH_REMEMBERING_BYTES = 16 * 2**20


def sha256_of(path: Path) -> str:
    """sha256 of the file's bytes, lower-case hex, always computed; raises :class:`ModelError`."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """The same by another algorithm of ``hashlib``; md5 finds damage, not forgery."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(algorithm)).hexdigest()
    except OSError as exc:
        raise ModelError(f"{path}: expected a readable weights file: {exc}") from exc


def remembered_sha256(path: Path) -> str:
    """sha256 of the file, from the note beside it where size and modification time still agree."""
    before = _stat(path)
    if before.st_size < WORTH_REMEMBERING_BYTES:
        return sha256_of(path)
    noted = _read_note(path, before)
    if noted is not None:
        return noted
    digest = sha256_of(path)
    after = _stat(path)
    if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
        remember_sha256(path, digest)
    return digest


def remember_sha256(path: Path, digest: str) -> None:
    """Leave a note that ``path`` as it is now has this digest; a folder that refuses it is logged."""
    stat = _stat(path)
    if stat.st_size >= WORTH_REMEMBERING_BYTES:
        _write_note(path, stat, digest)


def note_path(path: Path) -> Path:
    """Where the digest of the weights file ``path`` is remembered."""
    return path.with_name(path.name + ".digest.json")


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as exc:
        raise ModelError(f"{path}: expected a readable weights file: {exc}") from exc


def _read_note(path: Path, stat: os.stat_result) -> str | None:
    note = note_path(path)
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
        known = (value["size_bytes"], value["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        return str(value["sha256"]) if known else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        _LOG.warning("%s: unreadable note of a digest, hashing again: %s", note, exc)
        return None


def _write_note(path: Path, stat: os.stat_result, digest: str) -> None:
    value = {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}
    try:
        LocalStore(path.parent).write(note_path(path).name, json.dumps(value).encode(), overwrite=True)
    except StorageError as exc:
        _LOG.warning("%s: its digest cannot be remembered, every start hashes it: %s", path, exc)
