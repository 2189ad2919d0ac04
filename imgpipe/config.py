"""Every setting, with its meaning, unit and range.

Order of precedence: ``--set`` and arguments > ``IMGPIPE_*`` environment > ``QUALITY_*`` environment > the
YAML file > the defaults here. The file is ``IMGPIPE_CONFIG`` where that is set, else ``imgpipe.yaml`` in the
working directory. Nested keys in the environment are joined by two underscores:
``IMGPIPE_UPSCALE__TILE_SIZE=256``.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from imgpipe.errors import ConfigError

Action = Literal["enhance", "rembg", "upscale"]
Fallback = Literal["fail", "classical"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

#: Environment names with our prefix that are not settings.
_ENV_OTHER = {"IMGPIPE_CONFIG"}

#: Quality scores that a threshold may be set for -> (lowest, highest sensible value).
THRESHOLD_RANGES: Mapping[str, tuple[float, float]] = {
    "psnr_y_min_db": (0.0, 100.0),
    "ssim_y_min": (0.0, 1.0),
    "ssim_y_half_min": (0.0, 1.0),
    "worst_window_min": (0.0, 1.0),
    "color_shift_255_max": (0.0, 255.0),
    "local_color_shift_255_max": (0.0, 255.0),
    "subpixel_shift_px_max": (0.0, 10.0),
    "detail_ratio_min": (0.0, 10.0),
    "detail_ratio_max": (0.0, 100.0),
    "occupancy_ratio_min": (0.0, 1.0),
    "grid_ratio_max": (0.0, 100.0),
    "lines_coherence_max": (0.0, 1.0),
    "lines_step_max": (0.0, 255.0),
    "edge_pixel_loss_max": (0.0, 1.0),
    "foreground_min": (0.0, 1.0),
    "foreground_max": (0.0, 1.0),
    "components_max": (1.0, 10000.0),
    "soft_band_px_max": (0.0, 1000.0),
}

#: The names that people's scripts already use -> where they live here (docs/configuration-names.md).
ALIASES: Mapping[str, str] = {
    "alpha_matting": "rembg.alpha_matting",
    "alpha_matting_foreground_threshold": "rembg.foreground_threshold",
    "alpha_matting_background_threshold": "rembg.background_threshold",
    "alpha_matting_erode_size": "rembg.erode_size",
    "scale": "upscale.scale",
    "tile_size": "upscale.tile_size",
    "half_precision": "upscale.precision",
    "QUALITY_MIN_WIDTH": "enhance.min_width",
    "QUALITY_MIN_HEIGHT": "enhance.min_height",
    "QUALITY_SCALE_FACTOR": "enhance.scale_factor",
    "QUALITY_TARGET_BYTES": "enhance.target_bytes",
    "QUALITY_SAVE_FORMAT_PRIORITY": "enhance.save_format_priority",
    "QUALITY_SAVE_QUALITY": "enhance.quality",
    "QUALITY_PROFILE": "quality.profile",
    "QUALITY_DIFF": "quality.diff",
    **{f"QUALITY_{name.upper()}": f"quality.thresholds.{name}" for name in THRESHOLD_RANGES},
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class RembgSettings(_Section):
    """Matting: finding the subject and its alpha."""

    model: str = Field(
        "isnet-anime",
        min_length=1,
        description="Model name (see `imgpipe models list`), a path to an .onnx file, or `classical`.",
    )
    preprocess: Literal["author", "rembg"] = Field(
        "author",
        description="Feed the network as its authors do, or exactly as the rembg package does.",
    )
    alpha_matting: bool = Field(True, description="Refine the mask's border into an alpha matte.")
    foreground_threshold: int = Field(
        240, ge=0, le=254, description="Mask values above this are certainly subject (0..254)."
    )
    background_threshold: int = Field(
        10, ge=0, le=254, description="Mask values below this are certainly background (0..254)."
    )
    erode_size: int = Field(
        3,
        ge=0,
        le=100,
        description="How far the certain areas are shrunk before matting, px of a 1024 px image (0..100).",
    )
    fallback: Fallback = Field(
        "fail",
        description="Where the weights are missing: stop (`fail`) or use `classical`, recorded in every row.",
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.background_threshold >= self.foreground_threshold:
            raise ValueError(
                f"background_threshold ({self.background_threshold}) must be below "
                f"foreground_threshold ({self.foreground_threshold}), as in 10 and 240"
            )
        return self


class UpscaleSettings(_Section):
    """Enlarging."""

    model: str = Field(
        "realesrgan-anime-6b",
        min_length=1,
        description="Model name (`imgpipe models list`), a path to a weights file, `lanczos` or `bicubic`.",
    )
    scale: float = Field(4.0, gt=0.0, le=16.0, description="Output size / input size (above 0, up to 16).")
    tile_size: Literal["auto"] | Annotated[int, Field(ge=0, le=16384)] = Field(
        "auto",
        description="Tile edge in source px (32..16384; 0 = never cut), or `auto` from free memory.",
    )
    halo: Literal["auto"] | Annotated[int, Field(ge=0, le=512)] = Field(
        "auto",
        description="Context around a tile in source px (0..512), or `auto` = the network's receptive field.",
    )
    precision: Precision = Field(
        "auto",
        description="`auto`: bf16 on CPUs that have it, fp16 or bf16 on GPUs, else fp32.",
    )
    color_match: bool = Field(
        True, description="Correct the network's low-frequency colour shift against the source."
    )
    fallback: Fallback = Field(
        "fail",
        description="Where the weights are missing: stop (`fail`) or use `lanczos` (`classical`), recorded.",
    )

    @field_validator("tile_size")
    @classmethod
    def _tile_is_usable(cls, value: int | str) -> int | str:
        if isinstance(value, int) and 0 < value < 32:
            raise ValueError("a tile is 0 (never cut) or at least 32 px")
        return value


class EnhanceSettings(_Section):
    """The optional step before segmentation: at least this size, saved by rule."""

    min_width: int = Field(800, ge=1, le=65535, description="Least width of the result, px.")
    min_height: int = Field(1440, ge=1, le=65535, description="Least height of the result, px.")
    scale_factor: float = Field(
        1.5, ge=1.0, le=16.0, description="Least enlargement; more where the least size asks for it."
    )
    target_bytes: int | None = Field(
        None,
        ge=1000,
        description="File size to reach by format, quality and scale, bytes; null = as it comes.",
    )
    model: Literal["lanczos", "bicubic"] = Field("lanczos", description="How it is enlarged.")
    save_format_priority: tuple[Literal["PNG", "WEBP", "JPEG"], ...] = Field(
        ("PNG", "WEBP", "JPEG"), description="Formats in the order in which they are tried."
    )
    quality: int = Field(95, ge=90, le=100, description="Quality of lossy formats, at least 90 (90..100).")

    @field_validator("save_format_priority")
    @classmethod
    def _formats_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"expected each format at most once and at least one, got {list(value)}")
        return value


class QualitySettings(_Section):
    """Scores and verdicts."""

    profile: Literal["auto", "classical", "realesrgan"] = Field(
        "auto", description="Set of thresholds; `auto` takes the one of the upscaler that was used."
    )
    thresholds: Mapping[str, float] = Field(
        default_factory=dict,
        description="Single thresholds that replace the profile's, by name (docs/quality.md lists them).",
    )
    diff: bool = Field(True, description="Write diff.png, the heat map of differences, per image.")

    @field_validator("thresholds")
    @classmethod
    def _known_and_possible(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, number in value.items():
            if name not in THRESHOLD_RANGES:
                raise ValueError(f"{name!r} is no threshold; {_suggest(name, THRESHOLD_RANGES)}")
            low, high = THRESHOLD_RANGES[name]
            if not low <= number <= high:
                raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {number:g}")
        return dict(value)


class LimitSettings(_Section):
    """What is refused before it is decoded."""

    max_pixels: int = Field(
        100_000_000, ge=1, le=4_000_000_000, description="Largest source picture, px (width x height)."
    )
    max_output_pixels: int = Field(
        400_000_000, ge=1, le=16_000_000_000, description="Largest picture to be made, px."
    )
    max_bytes: int = Field(268_435_456, ge=1, description="Largest source file, bytes.")
    max_aspect_ratio: float = Field(
        100.0, ge=1.0, le=65535.0, description="Longest side / shortest side of a source."
    )
    min_side: int = Field(1, ge=1, le=65535, description="Shortest side of a source, px.")
    animated: Literal["first_frame", "reject"] = Field(
        "first_frame", description="Animated sources: keep the first frame, recorded, or make an error row."
    )

    def for_own_files(self) -> LimitSettings:
        """Limits for pictures that we made ourselves: only their size in memory is bounded again."""
        return LimitSettings(
            max_pixels=self.max_output_pixels,
            max_output_pixels=self.max_output_pixels,
            max_bytes=1 << 40,
            max_aspect_ratio=65535.0,
        )


class IsolationSettings(_Section):
    """Where untrusted bytes are decoded."""

    mode: Literal["process", "none"] = Field(
        "process",
        description="Decode sources in worker processes, so that a crash costs one image, or in this one.",
    )
    timeout_seconds: float = Field(60.0, gt=0, le=3600, description="Longest time for one image, seconds.")
    max_memory_bytes: int = Field(
        2_147_483_648,
        ge=268_435_456,
        description="Address space that a worker may take beyond what it starts with, bytes.",
    )


class S3Settings(_Section):
    """How S3 is reached; credentials come from the usual AWS places, never from this file."""

    endpoint_url: str | None = Field(
        None, description="Address of an S3-compatible server (MinIO and friends); empty for AWS."
    )
    region: str | None = Field(None, description="Region name; empty for the environment's.")


class _YamlSource(PydanticBaseSettingsSource):
    """The YAML file as a settings source; refuses what is not a mapping."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        super().__init__(settings_cls)
        self._path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise AssertionError("values are read as a whole by __call__")

    def __call__(self) -> dict[str, Any]:
        return {} if self._path is None else expand_names(read_yaml(self._path))


class _QualityEnvironment(PydanticBaseSettingsSource):
    """The ``QUALITY_*`` environment names of :data:`ALIASES`; other names of that kind are nobody's here."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise AssertionError("values are read as a whole by __call__")

    def __call__(self) -> dict[str, Any]:
        named = {name: os.environ[name] for name in ALIASES if name.isupper() and name in os.environ}
        return expand_names({name: _read_value(name, text) for name, text in named.items()})


class Settings(BaseSettings):
    """One data set's configuration."""

    model_config = SettingsConfigDict(
        env_prefix="IMGPIPE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    source: str = Field("", description="Folder or s3://bucket/prefix with the raw images.")
    output: str = Field("", description="Folder or s3://bucket/prefix that receives everything.")
    dataset: str = Field(
        "dataset",
        pattern=r"^[a-z0-9][a-z0-9_]{0,62}$",
        description="Name of the data set: lower-case letters, digits and _, at most 63.",
    )
    shard_size: int = Field(1000, ge=1, le=100_000, description="Images per partition.")
    actions: tuple[Action, ...] = Field(
        ("rembg", "upscale"), description="What is done to every image, in this order, each at most once."
    )
    engine: Literal["local"] = Field("local", description="What runs a stage over a shard.")
    workers: int = Field(0, ge=0, le=256, description="Images in flight per stage; 0 = number of cores + 2.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run.")
    model_dir: Path = Field(
        Path("~/.cache/imgpipe/models"), description="Where weights are looked for and pulled to."
    )
    rembg: RembgSettings = RembgSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    quality: QualitySettings = QualitySettings()
    limits: LimitSettings = LimitSettings()
    isolation: IsolationSettings = IsolationSettings()
    s3: S3Settings = S3Settings()

    @field_validator("actions")
    @classmethod
    def _each_once(cls, value: tuple[Action, ...]) -> tuple[Action, ...]:
        if not value:
            raise ValueError("at least one action is needed, as in [rembg, upscale]")
        if len(set(value)) != len(value):
            raise ValueError(f"each action may stand only once, got {list(value)}")
        return value

    @field_validator("model_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        yaml_settings = _YamlSource(settings_cls, find_config_file())
        return init_settings, env_settings, _QualityEnvironment(settings_cls), yaml_settings

    def require_source_and_output(self) -> Self:
        """This object, once it is known where to read and write; raises :class:`ConfigError`."""
        for name in ("source", "output"):
            if not getattr(self, name):
                raise ConfigError(
                    f"{name}: expected a folder or s3://bucket/prefix, got nothing; "
                    f"give --{name} URL, or set it in imgpipe.yaml or IMGPIPE_{name.upper()}"
                )
        return self


def find_config_file() -> Path | None:
    """``IMGPIPE_CONFIG``, else ``imgpipe.yaml`` in the working directory, else ``None``."""
    named = os.environ.get("IMGPIPE_CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            raise ConfigError(f"IMGPIPE_CONFIG: expected a YAML file, {path} is none")
        return path
    path = Path("imgpipe.yaml")
    return path if path.is_file() else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises :class:`ConfigError` where it is none."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}: expected a readable YAML file: {exc}") from exc
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected `key: value` lines at the top, got {type(value).__name__}")
    return value


def expand_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted keys and replace the aliases of :data:`ALIASES`; conflicts are refused."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        target = ALIASES.get(key, key)
        if key == "half_precision":
            value = _precision_from_half(value)
        _put(result, target.split("."), value, key)
    return result


def _read_value(name: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{name}: the value {text!r} is not readable: {exc}") from exc
    if name == "QUALITY_SAVE_FORMAT_PRIORITY" and isinstance(value, str):
        return [part.strip().upper() for part in value.split(",")]
    return value


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["upscale.scale=2"]`` -> nested mapping; values are read as YAML."""
    values: dict[str, Any] = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set: expected key=value as in upscale.scale=2, got {text!r}")
        values[key.strip()] = _read_value(key.strip(), value)
    return expand_names(values)


def load_settings(overrides: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """All settings from overrides, environment and file; raises :class:`ConfigError` naming the key.

    ``overrides`` may use dotted keys and aliases. ``config`` replaces the searched-for file.
    """
    _refuse_unknown_environment()
    if config is not None and not config.is_file():
        raise ConfigError(f"--config: expected a YAML file, {config} is none")
    before = os.environ.get("IMGPIPE_CONFIG")
    if config is not None:
        os.environ["IMGPIPE_CONFIG"] = str(config)
    try:
        return Settings(**expand_names(overrides or {}))
    except ValidationError as exc:
        raise ConfigError(_explain(exc)) from exc
    finally:
        if config is not None:
            if before is None:
                del os.environ["IMGPIPE_CONFIG"]
            else:
                os.environ["IMGPIPE_CONFIG"] = before


def dump_settings(settings: Settings) -> str:
    """YAML that :func:`load_settings` reads back to the same settings."""
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def dataset_name_from(url: str) -> str:
    """A valid data set name made from a folder or bucket prefix."""
    stem = re.sub(r"[^a-z0-9_]+", "_", url.rstrip("/").rsplit("/", 1)[-1].lower()).strip("_")
    return stem[:63] or "dataset"


def describe_fields() -> Iterator[tuple[str, str, str, str]]:
    """(dotted key, what is valid, default, description) of every setting, in order."""
    schema = Settings.model_json_schema()
    yield from _describe(schema, schema.get("$defs", {}), "")


def _describe(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in schema["properties"].items():
        section = definitions.get(str(field.get("$ref", "")).rpartition("/")[2])
        if section is not None:
            yield from _describe(section, definitions, f"{prefix}{name}.")
            continue
        default = field.get("default")
        shown = json.dumps(default) if isinstance(default, list | dict | bool) else str(default)
        yield f"{prefix}{name}", _valid(field), "" if default is None else shown, field["description"]


def _valid(field: Mapping[str, Any]) -> str:
    """What a JSON Schema of ours allows, in words."""
    if "anyOf" in field:
        return " or ".join(_valid(part) for part in field["anyOf"])
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type", "")
    if kind == "array":
        return f"list of {_valid(field['items'])}"
    low, high = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    names = {"number": "number", "integer": "integer", "string": "text", "object": "names with numbers"}
    words = names.get(kind, "`true`, `false`" if kind == "boolean" else kind)
    if low is not None or above is not None or high is not None:
        start = f"above {above:g} to " if above is not None else f"{low}.." if low is not None else "up to "
        words += f" {start}{'' if high is None else f'{high:g}' if isinstance(high, float) else high}"
    return words


def _put(target: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        step = target.setdefault(part, {})
        if not isinstance(step, dict):
            raise ConfigError(f"{key}: {part!r} is given both as a value and as a section")
        target = step
    last = path[-1]
    if isinstance(value, Mapping) and isinstance(target.get(last), dict):
        for inner, inner_value in value.items():
            _put(target[last], [inner], inner_value, f"{key}.{inner}")
        return
    if last in target and target[last] != value:
        raise ConfigError(
            f"{key}: given twice with different values ({target[last]!r} and {value!r}); keep one"
        )
    target[last] = dict(value) if isinstance(value, Mapping) else value


def _precision_from_half(value: Any) -> str:
    if not isinstance(value, bool):
        raise ConfigError(f"half_precision: expected true or false, got {value!r}")
    return "auto" if value else "fp32"


def _suggest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid names: " + ", ".join(sorted(known))


def _refuse_unknown_environment() -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if not name.startswith("IMGPIPE_") or name in _ENV_OTHER:
            continue
        if name.removeprefix("IMGPIPE_").split("__")[0].upper() not in sections:
            known = {f"IMGPIPE_{section}" for section in sections} | _ENV_OTHER
            raise ConfigError(f"{name}: unknown environment variable; {_suggest(name, known)}")


def _explain(exc: ValidationError) -> str:
    lines = []
    for error in exc.errors():
        path = [str(part) for part in error["loc"] if not str(part).startswith(("literal", "constrained"))]
        key = ".".join(path)
        if error["type"] == "extra_forbidden":
            section: type[BaseModel] = Settings
            for part in path[:-1]:
                annotation = section.model_fields[part].annotation
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    section = annotation
            lines.append(f"{key}: unknown key; {_suggest(path[-1], set(section.model_fields))}")
        else:
            message = error["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message}; got {error['input']!r}")
    return "configuration refused:\n  " + "\n  ".join(dict.fromkeys(lines))
