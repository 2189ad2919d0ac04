"""Which settings are paths of this machine, and what relative ones are relative to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgpipe.metrics import PROFILES


def names_relative_file(key: str, value: object, folder: Path) -> bool:
    """Whether a setting is a relative path: of a folder, or (of a model, a profile) of an existing file."""
    path = _path(key, value, folder)
    return path is not None and not path.is_absolute()


def from_folder(values: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """The settings with absolute paths, below ``IMGPIPE_FOLDER``, else ``folder``; as given without these."""
    named = os.environ.get("IMGPIPE_FOLDER")
    base = Path(named) if named else folder
    return dict(values) if base is None else _below(values, base)


def _below(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(values)
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = _below(value, folder)
        elif path := _path(key, value, folder):
            found[key] = str((folder / path).absolute())
    return found


def _path(key: str, value: object, folder: Path) -> Path | None:
    """The path that a setting is; ``None`` for an address, a name, and any other setting."""
    if not isinstance(value, str | Path) or not str(value) or "://" in str(value):
        return None
    path = Path(value).expanduser()
    a_file = key in ("model", "second_model") or (key == "profile" and value not in ("auto", *PROFILES))
    return (
        path if key in ("source", "output", "model_dir") or (a_file and (folder / path).is_file()) else None
    )
