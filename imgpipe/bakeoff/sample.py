"""Which pictures of a source are compared, and the truth that belongs to each."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from imgpipe.errors import PER_IMAGE_ERRORS, ConfigError
from imgpipe.images.sniff import sniff
from imgpipe.records import SourceObject
from imgpipe.storage.comparison import IMAGE_EXTENSIONS
from imgpipe.storage.store import ImageStore

#: Drawn beyond the limit, for those that turn out to be no pictures.
_SPARE = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """``files``: key -> bytes, in key order; ``listed``: pictures there; ``left_out``: key and why."""

    files: dict[str, bytes]
    listed: int
    left_out: tuple[str, ...]


def draw(source: ImageStore, limit: int, seed: int, *, max_bytes: int, without: str = "") -> Sample:
    """``limit`` pictures, spread over the whole listing by a hash of ``seed`` and key.

    So a picture that is drawn stays drawn while others come and go, unless they take its place. Objects
    above ``max_bytes`` and those that are no pictures by their content are left out; keys below ``without``
    are none of the source's. Raises :class:`ConfigError` where no picture is left.
    """
    listed = 0

    def named() -> Iterator[tuple[str, SourceObject]]:
        nonlocal listed
        for found in _pictures(source, without):
            listed += 1
            yield hashlib.sha256(f"{seed}:{found.key}".encode("utf-8", "surrogatepass")).hexdigest(), found

    files: dict[str, bytes] = {}
    left_out: list[str] = []
    for _, found in heapq.nsmallest(limit + _SPARE, named(), key=lambda pair: (pair[0], pair[1].key)):
        if len(files) == limit:
            break
        if found.size_bytes > max_bytes:
            left_out.append(f"{found.key}: larger than limits.max_bytes")
            continue
        try:
            data = source.read(found.key)
            sniff(data, found.key)
        except PER_IMAGE_ERRORS as exc:
            left_out.append(str(exc) if found.key in str(exc) else f"{found.key}: {exc}")
        else:
            files[found.key] = data
    if not files:
        raise ConfigError(
            f"{source.url}: expected pictures, found {listed} files with such an ending and none that can "
            f"be read{': ' + left_out[0] if left_out else ''}; check the folder or prefix"
        )
    return Sample(dict(sorted(files.items())), listed, tuple(left_out))


def truths_of(truth: ImageStore, keys: list[str]) -> dict[str, str]:
    """Source key -> key of its truth: the same path without the ending.

    Raises :class:`ConfigError` where two truths have one path and where none belongs to a picture.
    """
    by_path: dict[str, str] = {}
    for found in _pictures(truth):
        path = _without_ending(found.key)
        if path in by_path:
            raise ConfigError(
                f"--truth: {truth.uri(by_path[path])} and {truth.uri(found.key)} belong to one picture; keep "
                "one of them"
            )
        by_path[path] = found.key
    matched = {key: by_path[_without_ending(key)] for key in keys if _without_ending(key) in by_path}
    if not matched:
        raise ConfigError(
            f"--truth: {truth.url} has no file for any of the {len(keys)} pictures, as "
            f"{_without_ending(keys[0])}.png for {keys[0]}; name truths by the pictures' relative paths"
        )
    return matched


def _pictures(store: ImageStore, without: str = "") -> Iterator[SourceObject]:
    for found in store.list():
        ending = found.key.rpartition(".")[2].lower()
        if ending in IMAGE_EXTENSIONS and not (without and found.key.startswith(without)):
            yield found


def _without_ending(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(""))
