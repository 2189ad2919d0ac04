"""The formats that can be written, by the endings of their files."""

from __future__ import annotations

import importlib.util

from imgpipe.errors import ConfigError
from imgpipe.images.sniff import PLUGIN_FORMATS

_ENDINGS = {
    "PNG": ("png",),
    "WEBP": ("webp",),
    "JPEG": ("jpg", "jpeg"),
    "TIFF": ("tif", "tiff"),
    "JXL": ("jxl",),
}
#: Format, as :func:`~imgpipe.images.encode.encode` names it -> the usual ending of its files.
EXTENSIONS = {name: endings[0] for name, endings in _ENDINGS.items()}
#: Ending in lower case, with its dot -> format.
FILE_FORMATS = {f".{ending}": name for name, endings in _ENDINGS.items() for ending in endings}


def format_named(name: str) -> str:
    """``webp``, ``JPG`` and the like as a format; raises :class:`ConfigError` for others, and as
    :func:`require_writable`."""
    found = FILE_FORMATS.get(f".{name.lower()}")
    if found is None:
        raise ConfigError(f"format: expected one of {', '.join(EXTENSIONS).lower()}, got {name!r}")
    require_writable(found)
    return found


def require_writable(format: str) -> None:  # noqa: A002 -- as encode calls it
    """Raise :class:`ConfigError` where the package that writes this format is not installed."""
    module, package = PLUGIN_FORMATS.get(format, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise ConfigError(f"format {format.lower()}: needs the package {package}; install it, or take webp")
