"""Settings as people give them: YAML files, dotted keys, ``key=value``, names of existing scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from imgpipe.errors import ConfigError
from imgpipe.metrics import LIMITS
from imgpipe.settings.yaml_text import parse_yaml

#: Names that existing scripts use -> the setting of the same meaning (docs/configuration-names.md).
ALIASES: Mapping[str, str] = {
    "alpha_matting": "rembg.alpha_matting",
    "alpha_matting_foreground_threshold": "rembg.foreground_threshold",
    "alpha_matting_background_threshold": "rembg.background_threshold",
    "alpha_matting_erode_size": "rembg.erode_size",
    "scale": "upscale.scale",
    "tile_size": "upscale.tile_size",
    "half_precision": "upscale.precision",
    "denoise": "fix_artifacts.denoise_strength",
    "min_width": "enhance.min_width",
    "min_height": "enhance.min_height",
    "scale_factor": "enhance.scale_factor",
    "save_format_priority": "enhance.save_format_priority",
    "QUALITY_MIN_WIDTH": "enhance.min_width",
    "QUALITY_MIN_HEIGHT": "enhance.min_height",
    "QUALITY_SCALE_FACTOR": "enhance.scale_factor",
    "QUALITY_TARGET_BYTES": "enhance.min_bytes",
    "min_file_size_bytes": "enhance.min_bytes",
    "target_file_size": "enhance.min_bytes",
    "enhance.target_bytes": "enhance.min_bytes",
    "QUALITY_ENABLE_SR": "enhance.model",
    "QUALITY_SAVE_FORMAT_PRIORITY": "enhance.save_format_priority",
    "QUALITY_SAVE_QUALITY": "enhance.quality",
    "QUALITY_PROFILE": "quality.profile",
    "QUALITY_DIFF": "quality.diff",
    **{f"QUALITY_{name.upper()}": f"quality.thresholds.{name}" for name in LIMITS},
}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises :class:`ConfigError` for anything else."""
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}: expected a readable YAML file: {exc}") from exc
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected `key: value` lines at the top, got {type(value).__name__}")
    return value


def expand_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted keys and replace the aliases of :data:`ALIASES`; conflicts are refused.

    In a section its own aliases are known too (``rembg: {alpha_matting_erode_size: 3}``); the keys below
    ``image_pipeline:`` are taken as if they stood at the top. ``review_enabled`` means the vision model: it
    sets two.
    """
    result: dict[str, Any] = {}
    for path, value in _flat(values):
        section, _, name = path.rpartition(".")
        if name == "review_enabled" and section in ("", "fix_artifacts"):
            _put(result, ["review", "enabled"], value, path)
            if value is True:
                _put(result, ["review", "reviewer"], "claude", path)
            continue
        alias = ALIASES.get(name, "")
        target = alias if not section or alias.startswith(f"{section}.") else ALIASES.get(path, "")
        if target and name in _MEANINGS:
            value = _MEANINGS[name](value)
        _put(result, (target or path).split("."), value, path)
    return result


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings."""
    for key, value in values.items():
        path = f"{prefix}{key}".removeprefix("image_pipeline.")
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["upscale.scale=2"]`` -> nested mapping; values are read as YAML."""
    values: dict[str, Any] = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set: expected key=value as in upscale.scale=2, got {text!r}")
        values[key.strip()] = read_value(key.strip(), value)
    return expand_names(values)


def read_value(name: str, text: str) -> Any:
    """The value that a text stands for, read as YAML; raises :class:`ConfigError`."""
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{name}: the value {text!r} is not valid YAML: {exc}") from exc
    if name == "QUALITY_SAVE_FORMAT_PRIORITY" and isinstance(value, str):
        return [part.strip().upper() for part in value.split(",")]
    return value


def _put(target: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        step = target.setdefault(part, {})
        if not isinstance(step, dict):
            raise ConfigError(f"{key}: {part!r} is given both as a value and as a section")
        target = step
    last = path[-1]
    if value == {}:  # a section without keys
        target.setdefault(last, {})
        return
    if last in target and target[last] != value:
        raise ConfigError(
            f"{key}: given twice with different values ({target[last]!r} and {value!r}); keep one"
        )
    target[last] = value


def _precision_from_half(value: Any) -> str:
    if not isinstance(value, bool):
        raise ConfigError(f"half_precision: expected true or false, got {value!r}")
    return "auto" if value else "fp32"


#: What the value of an alias means for its setting, where that is not the same.
_MEANINGS: Mapping[str, Callable[[Any], Any]] = {
    "half_precision": _precision_from_half,
    "QUALITY_ENABLE_SR": lambda value: {True: "realesrgan-anime-6b", False: "lanczos"}.get(value, value),
}
