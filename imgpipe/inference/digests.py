"""Digests of weights files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from imgpipe.errors import ModelError


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
    """sha256 of the file, computed once a process as long as its size and modification time stay."""
    try:
        stat = path.stat()
    except OSError as exc:
        raise ModelError(f"{path}: expected a readable weights file: {exc}") from exc
    return _sha256_at(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_at(path: Path, size_bytes: int, mtime_ns: int) -> str:
    return sha256_of(path)
