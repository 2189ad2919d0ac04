"""Which settings are relative paths, and what they are relative to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def names_relative_file(key: str, value: object, folder: Path) -> bool:
    """Whether a setting is a relative path: of a folder, or (of a model, a profile) of an existing file."""
    if not isinstance(value, str | Path) or not str(value) or "://" in str(value):
        return False
    path = Path(value).expanduser()
    if path.is_absolute():
        return False
    return key in ("source", "output", "model_dir") or (
        key in ("model", "profile") and (folder / path).is_file()
    )


def from_folder(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with relative paths below ``IMGPIPE_FOLDER``, where that is set."""
    named = os.environ.get("IMGPIPE_FOLDER")
    if not named:
        return dict(values)
    folder = Path(named)
    return {
        key: from_folder(value)
        if isinstance(value, Mapping)
        else str(folder / value)
        if names_relative_file(key, value, folder)
        else value
        for key, value in values.items()
    }
