"""What a person calls an image: its source's key, the path or address of its source, or its id."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from imgpipe.errors import ConfigError
from imgpipe.storage.file_names import key_part
from imgpipe.storage.source_record import recorded_source
from imgpipe.storage.store import ImageStore

_SUGGESTED = 3


class SourceName:
    """Finds an image of a data set by ``name``, and sources of a similar name where there is none."""

    def __init__(self, output: ImageStore, dataset: str, name: str) -> None:
        self.name = name
        self.key = _normal(key_of(name, recorded_source(output, dataset) or ""))
        self._file_name = self.key.rpartition("/")[2]
        self.similar: list[str] = []

    def find(self, images: Iterable[tuple[str, str]]) -> str | None:
        """The id of the image that is meant; ``images``: pairs of id and source's key."""
        for image_id, source_key in images:
            key = _normal(source_key)
            if self.name == image_id or self.key == key:
                return image_id
            if key.rpartition("/")[2] == self._file_name and len(self.similar) < _SUGGESTED:
                self.similar.append(source_key)
        return None


def not_found(name: str, where: str, similar: Iterable[str]) -> ConfigError:
    """The error of a name that no image has; ``where``: what was searched, as the message's subject."""
    named = " or ".join(map(repr, similar))
    hint = f"; did you mean {named}?" if named else ""
    return ConfigError(
        f"{name}: {where} has this image; expected a source's path as `imgpipe review list` and the report "
        f"name it, a file below the source, or an image_id{hint}"
    )


def key_of(name: str, source_url: str) -> str:
    """The source's key that ``name`` stands for: itself, unless it is an address or a path below the source.

    A relative path is taken from the working directory where that file exists, or where it begins with a dot.
    """
    if "://" in source_url:
        return name.removeprefix(source_url.rstrip("/") + "/")
    path = Path(os.path.normpath(Path(name).expanduser().absolute()))
    if not source_url or not (name.startswith(("/", "~", ".")) or path.exists()):
        return name
    for folder in path.parents:
        if folder.resolve() == Path(source_url):
            return "/".join(map(key_part, path.relative_to(folder).parts))
    return name


def _normal(key: str) -> str:
    return unicodedata.normalize("NFC", key)
