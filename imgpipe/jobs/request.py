"""What a caller asks for: a picture, actions and settings, checked before anything is computed.

Callers are not trusted with this machine: they choose how a picture is processed, never which files are read,
which models are loaded from elsewhere than the model folder, nor where anything is stored.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgpipe.config import Settings, changed_settings
from imgpipe.errors import ConfigError, DecodeError
from imgpipe.images.sniff import sniff
from imgpipe.inference.weights import CLASSICAL_NAMES, REGISTRY
from imgpipe.jobs.fetch import fetch, too_large
from imgpipe.metrics import PROFILES
from imgpipe.settings import suggest
from imgpipe.settings.given import expand_names

#: What a picture is called in messages.
NAME = "the picture"
#: What came from a caller may be long.
_MESSAGE_CHARACTERS = 2000
#: Of an absolute path all but its last part.
_FOLDERS = re.compile(r"(?<![\w.:/*-])(?:file://)?(?:/[^\s/:;,'\"()]+)+/(?=[^\s/])")
log = logging.getLogger(__name__)
_CLASSICAL = {name for names in CLASSICAL_NAMES.values() for name in names}


def open_sections() -> set[str]:
    """The sections of the settings that a job may set."""
    return {*Settings.action_names(), "quality"}


class JobRequest(BaseModel):
    """One picture, as base64 or by its address, and what is done with it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    image_base64: str | None = Field(None, description="The picture's file as base64; a data: URI too.")
    image_url: str | None = Field(None, description="s3://bucket/key, or what jobs.url_prefixes allows.")
    actions: tuple[str, ...] = Field(("upscale",), description="What is done, in this order.")
    config: dict[str, Any] = Field({}, description="Settings of the actions and of quality, as under --set.")


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request: the picture's file, its format by content (as in ``PNG``), and the settings."""

    data: bytes
    format: str
    settings: Settings


def read_order(payload: object, base: Settings) -> Order:
    """The request in ``payload`` over the settings ``base``.

    Raises :class:`ConfigError` for what is unknown, not allowed or impossible, and the :class:`ImageError`
    and :class:`StorageError` families for a picture that cannot be had or is none.
    """
    try:
        request = JobRequest.model_validate(payload)
    except ValidationError as exc:
        raise ConfigError(_explain(exc)) from exc
    settings = job_settings(base, request.actions, request.config)
    if (request.image_base64 is None) == (request.image_url is None):
        raise ConfigError("input: expected a picture in image_base64 or image_url, and one of the two only")
    if request.image_url is not None:
        return order(fetch(request.image_url, settings), settings)
    return order(_decoded(request.image_base64 or "", settings.limits.max_bytes), settings)


def order(data: bytes, settings: Settings) -> Order:
    """An order for the file of a picture; raises the :class:`ImageError` family where it is none."""
    if not data:
        raise DecodeError(f"{NAME}: expected the file of a picture, got 0 bytes")
    if len(data) > settings.limits.max_bytes:
        raise too_large(NAME, f"{len(data):,}", settings.limits.max_bytes)
    return Order(data, sniff(data, NAME), settings)


def job_settings(base: Settings, actions: tuple[str, ...], config: Mapping[str, Any]) -> Settings:
    """``base`` with a job's actions and ``config``; raises :class:`ConfigError` naming the key."""
    changes = expand_names(config)
    for name, section in changes.items():
        if name not in open_sections():
            raise ConfigError(
                f"config.{name}: not for a job to set; expected a key below "
                f"{', '.join(sorted(open_sections()))}, as in upscale.scale"
            )
        if isinstance(section, Mapping):
            changes[name] = {key: _harmless(name, key, value, base) for key, value in section.items()}
    return changed_settings(base, {"actions": actions, **changes})


def told(text: str, base: Settings) -> str:
    """What callers are told of an error: no folders of this machine's, which stand in the log."""
    places = (base.model_dir, base.model_dir.resolve(), base.output, base.source, base.s3.endpoint_url)
    short = text
    for place in sorted({str(place).rstrip("/") for place in places if place} - {""}, key=len, reverse=True):
        short = short.replace(f"{place}/", "")
    short = _FOLDERS.sub("", short)
    if short != text:
        log.warning("a caller is told of this without its paths: %s", text)
    return short[:_MESSAGE_CHARACTERS]


def said(error: Exception, base: Settings) -> str:
    """The error as callers are told."""
    return told(f"{type(error).__name__}: {error}", base)


def _harmless(section: str, key: str, value: Any, base: Settings) -> Any:
    """The value; a weights file as its path in the model folder. Raises :class:`ConfigError` for a file
    elsewhere."""
    if not isinstance(value, str):
        return value
    if key.endswith("model") and value not in REGISTRY and value not in _CLASSICAL:
        folder = base.model_dir.resolve()
        path = (folder / value).resolve()
        if path.is_relative_to(folder) and path.is_file():
            return str(path)
        raise ConfigError(
            f"config.{section}.{key}: expected a name of `imgpipe models list`, or a file in this machine's "
            f"model folder, got {value!r}"
        )
    if (key == "profile" and value not in ("auto", *PROFILES)) or Path(value).name != value:
        raise ConfigError(f"config.{section}.{key}: names a file, which a job may not; got {value!r}")
    return value


def _decoded(text: str, max_bytes: int) -> bytes:
    """base64, with or without the head of a data: URI and line breaks; sizes are compared first."""
    start = text.find(",", 0, 200) + 1 if text.startswith("data:") else 0
    size = (len(text) - start) * 3 // 4
    # Line breaks, one in 76 characters at most, are no reason to refuse.
    if size > max_bytes * 1.03 + 4:
        raise too_large("image_base64", f"about {size:,}", max_bytes)
    try:
        return base64.b64decode("".join(text[start:].split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise DecodeError(f"image_base64: expected base64 (RFC 4648), got something else: {exc}") from exc


def _explain(exc: ValidationError) -> str:
    lines = []
    for error in exc.errors():
        key = ".".join(map(str, error["loc"])) or "input"
        if error["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key; {suggest(key, set(JobRequest.model_fields))}")
        else:
            lines.append(f"{key}: {error['msg']}")
    return "; ".join(lines)
