"""The demo's drawings as files, with their exact mattes."""

from __future__ import annotations

from pathlib import Path

from imgpipe.errors import ConfigError, StorageError
from imgpipe.storage.local import LocalStore

_HERE = Path(__file__).parent


def write_samples(folder: Path, masks: Path | None = None) -> list[Path]:
    """Copy every drawing into ``folder`` and return the files in order.

    ``masks``: a folder outside of it that receives each exact matte as ``<name>.png``, 8-bit grey. A file
    that already has these bytes is not written again and keeps its time; another of the same name is
    replaced. Raises :class:`ConfigError` where a folder cannot be used.
    """
    try:
        if masks is not None:
            _copy("masks", masks)
        return _copy("pictures", folder)
    except (OSError, StorageError) as exc:
        raise ConfigError(
            f"{folder}: the sample drawings cannot be written: {exc}; give another folder"
        ) from exc


def _copy(kind: str, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    store = LocalStore(folder)
    copies = []
    for file in sorted((_HERE / kind).iterdir()):
        data, path = file.read_bytes(), folder / file.name
        if not path.is_file() or path.read_bytes() != data:
            store.write(file.name, data, overwrite=True)
        copies.append(path)
    return copies
