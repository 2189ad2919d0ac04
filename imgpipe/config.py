"""Every setting, with its meaning, unit and range.

Order of precedence: ``--set`` and arguments > ``IMGPIPE_*`` environment > ``QUALITY_*`` environment > the
YAML file > the defaults here. The file is ``IMGPIPE_CONFIG`` where that is set, else ``imgpipe.yaml`` in the
working directory. Relative paths are taken from ``IMGPIPE_FOLDER`` where that is set, else from the working
directory. Nested keys in the environment are joined by two underscores:
``IMGPIPE_UPSCALE__TILE_SIZE=256``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from imgpipe.errors import ConfigError
from imgpipe.names import DATASET_LENGTH, dataset_name, is_dataset_name
from imgpipe.settings import (
    ActionSection,
    AssetSettings,
    AutomationSettings,
    CostSettings,
    EnhanceSettings,
    FileSettings,
    FixSettings,
    IntakeSettings,
    IsolationSettings,
    JobSettings,
    LimitSettings,
    ModelSettings,
    QualitySettings,
    RaySettings,
    RembgSettings,
    ReviewSettings,
    S3Settings,
    Section,
    UpscaleSettings,
    suggest,
)
from imgpipe.settings.given import ALIASES, expand_names, read_value, read_yaml
from imgpipe.settings.relative_paths import from_folder, names_relative_file

#: How the message of refused settings begins: a line for each follows.
REFUSED = "configuration refused:"
#: Searched for where ``IMGPIPE_CONFIG`` is not set.
_FOUND = Path("imgpipe.yaml")

#: Names the level of imgpipe's own log; INFO has a line for each scored image.
LOG_LEVEL = "IMGPIPE_LOG_LEVEL"
#: Environment variables with the prefix IMGPIPE_ that are not settings; IMGPIPE_TEST_* is for the test suite.
_ENV_OTHER = {"IMGPIPE_CONFIG", "IMGPIPE_FOLDER", LOG_LEVEL, "IMGPIPE_SERVE_TOKEN"}


def _list_actions(schema: dict[str, Any], settings: type[Settings]) -> None:
    """Put the valid names into the JSON Schema, from which docs/configuration.md is written."""
    schema["properties"]["actions"]["items"]["enum"] = settings.action_names()


class Settings(Section):
    """The configuration of one data set; :func:`load_settings` merges file, environment and overrides."""

    model_config = ConfigDict(json_schema_extra=_list_actions)

    source: str = Field("", description="Folder or s3://bucket/prefix with the raw images.")
    output: str = Field("", description="Folder or s3://bucket/prefix for all results.")
    dataset: str = Field(
        "dataset",
        description="Name of the data set: lower-case letters of any script, digits and _, at most 63.",
    )
    shard_size: int = Field(1000, ge=1, le=100_000, description="Images per partition.")
    actions: tuple[str, ...] = Field(
        ("rembg", "upscale"),
        description="Actions applied to every image, in this order, each at most once; also as a text: "
        "`rembg,upscale`.",
    )
    engine: Literal["local", "ray"] = Field(
        "local",
        description="Engine that runs a stage over a shard: threads of this machine, or workers of a Ray "
        "cluster.",
    )
    workers: int = Field(0, ge=0, le=256, description="Images in flight per stage; 0 = number of cores + 2.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device that networks run on.")
    model_dir: Path = Field(
        Path("~/.cache/imgpipe/models"),
        description="Folder of the weights files; `imgpipe models pull` writes there.",
    )
    models: ModelSettings = ModelSettings()
    rembg: RembgSettings = RembgSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    fix_artifacts: FixSettings = FixSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    files: FileSettings = FileSettings()
    quality: QualitySettings = QualitySettings()
    limits: LimitSettings = LimitSettings()
    intake: IntakeSettings = IntakeSettings()
    isolation: IsolationSettings = IsolationSettings()
    s3: S3Settings = S3Settings()
    ray: RaySettings = RaySettings()
    assets: AssetSettings = AssetSettings()
    cost: CostSettings = CostSettings()
    review: ReviewSettings = ReviewSettings()
    automation: AutomationSettings = AutomationSettings()
    jobs: JobSettings = JobSettings()

    @classmethod
    def action_names(cls) -> list[str]:
        """Every action in alphabetical order: the fields that are an :class:`ActionSection`."""
        fields = cls.model_fields.items()
        return sorted(name for name, field in fields if isinstance(field.default, ActionSection))

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, value: str) -> str:
        if not is_dataset_name(value):
            raise ValueError(
                f"expected lower-case letters of any script, digits and _, at most {DATASET_LENGTH}, "
                f"as in {dataset_name(value)!r}"
            )
        return value

    @field_validator("actions", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("actions")
    @classmethod
    def _known_and_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in cls.action_names():
                *others, last = (f"'{known}'" for known in cls.action_names())
                raise ValueError(f"unknown action {name!r}, expected {', '.join(others)} or {last}")
        if not value:
            raise ValueError("at least one action is needed, as in [rembg, upscale]")
        if len(set(value)) != len(value):
            raise ValueError(f"each action may be listed only once, got {list(value)}")
        return value

    @field_validator("files")
    @classmethod
    def _no_cutouts_as_jpeg(cls, value: FileSettings, info: ValidationInfo) -> FileSettings:
        if value.format == "JPEG" and "rembg" in info.data.get("actions", ()):
            raise ValueError(
                "expected format PNG, WEBP or JXL with rembg among the actions: a cutout has transparency, "
                "which JPEG has not"
            )
        return value

    @field_validator("model_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()

    def require_source_and_output(self) -> Self:
        """This object; raises :class:`ConfigError` where ``source`` or ``output`` is not set."""
        for name in ("source", "output"):
            if not getattr(self, name):
                raise ConfigError(
                    f"{name}: expected a folder or s3://bucket/prefix, got nothing; "
                    f"give SOURCE OUTPUT or --{name} URL, or set it in imgpipe.yaml or IMGPIPE_{name.upper()}"
                )
        return self


def find_config_file() -> Path | None:
    """``IMGPIPE_CONFIG``, else ``imgpipe.yaml`` in the working directory, else ``None``."""
    named = os.environ.get("IMGPIPE_CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            raise ConfigError(f"IMGPIPE_CONFIG: expected a YAML file, {path} is not a file")
        return path
    return _FOUND if _FOUND.is_file() else None


def dagster_home() -> Path:
    """Where runs are kept: ``DAGSTER_HOME``, else a folder below the working directory; it may not exist."""
    named = os.environ.get("DAGSTER_HOME")
    return (Path(named).expanduser() if named else Path(".imgpipe") / "dagster").absolute()


def last_settings_file() -> Path:
    """Where the settings of the last run are kept; it may not exist."""
    return dagster_home() / "imgpipe.yaml"


def found_file_naming_others() -> Path | None:
    """``imgpipe.yaml`` where it was found in the working directory and names files relative to itself."""
    if find_config_file() is not _FOUND:
        return None
    values = expand_names(read_yaml(_FOUND))
    sections = [section for section in values.values() if isinstance(section, Mapping)]
    pairs = [pair for section in (values, *sections) for pair in section.items()]
    return _FOUND if any(names_relative_file(key, value, Path()) for key, value in pairs) else None


def load_settings(
    overrides: Mapping[str, Any] | None = None, *, config: Path | None = None, folder: Path | None = None
) -> Settings:
    """All settings from overrides, environment and file; raises :class:`ConfigError` naming the key.

    ``overrides`` may use dotted keys and aliases. ``config`` replaces the searched-for file. ``folder``: what
    relative paths are put below where ``IMGPIPE_FOLDER`` is not set; without it they stay as they are.
    """
    _refuse_unknown_environment()
    if config is not None and not config.is_file():
        raise ConfigError(f"--config: expected a YAML file, {config} is not a file")
    path = config or find_config_file()
    try:
        layers = (
            {} if path is None else expand_names(read_yaml(path)),
            _quality_environment(),
            expand_names(_environment()),
            expand_names(overrides or {}),
        )
        return Settings(**from_folder(functools.reduce(_merged, layers), folder))
    except ValidationError as exc:
        raise ConfigError(_explain(exc)) from exc
    except SettingsError as exc:
        raise ConfigError(f"IMGPIPE_* environment: {exc}; lists and sections are written as JSON") from exc


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with ``changes``, nested as in a file; raises :class:`ConfigError` naming the key."""
    try:
        return Settings(**_merged(settings.model_dump(), changes))
    except ValidationError as exc:
        raise ConfigError(_explain(exc)) from exc


def dump_settings(settings: Settings) -> str:
    """YAML that :func:`load_settings` reads back to the same settings."""
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings, sections key by key; where both have a value, ``upper``'s is taken."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merged(below, value)
        result[key] = value
    return result


def _environment() -> dict[str, Any]:
    """The ``IMGPIPE_*`` variables; raises :class:`SettingsError` where a list or section is not JSON."""
    settings = cast(type[BaseSettings], Settings)  # Only its fields are read.
    return EnvSettingsSource(settings, env_prefix="IMGPIPE_", env_nested_delimiter="__")()


def _quality_environment() -> dict[str, Any]:
    """The ``QUALITY_*`` variables of :data:`ALIASES`; other names of that kind are ignored."""
    named = {name: os.environ[name] for name in ALIASES if name.isupper() and name in os.environ}
    return expand_names({name: read_value(name, text) for name, text in named.items()})


def _refuse_unknown_environment() -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if not name.startswith("IMGPIPE_") or name.startswith("IMGPIPE_TEST_") or name in _ENV_OTHER:
            continue
        if name.removeprefix("IMGPIPE_").split("__")[0].upper() not in sections:
            known = {f"IMGPIPE_{section}" for section in sections} | _ENV_OTHER
            raise ConfigError(f"{name}: unknown environment variable; {suggest(name, known)}")


def _explain(exc: ValidationError) -> str:
    lines = []
    for error in exc.errors():
        path = [str(part) for part in error["loc"] if not str(part).startswith(("literal", "constrained"))]
        key = ".".join(path)
        if error["type"] == "extra_forbidden":
            section: type[BaseModel] = Settings
            for part in path[:-1]:
                annotation = section.model_fields[part].annotation
                for kind in (annotation, *get_args(annotation)):
                    if isinstance(kind, type) and issubclass(kind, BaseModel):
                        section = kind
            lines.append(f"{key}: unknown key; {suggest(path[-1], set(section.model_fields))}")
        else:
            message = error["msg"].removeprefix("Value error, ")
            # What stands there by mistake may be a password.
            shown = "" if path[0] in ("s3", "ray") else f"; got {error['input']!r}"
            lines.append(f"{key}: {message}{shown}")
    return f"{REFUSED}\n  " + "\n  ".join(dict.fromkeys(lines))
