"""The sections of a data set's settings, each option with its meaning, unit and range."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Action = Literal["enhance", "rembg", "upscale"]
Fallback = Literal["fail", "classical"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Severity = Literal["error", "warn", "info"]
UpscaleBackend = Literal["auto", "spandrel", "realesrgan", "dnn_superres", "onnxruntime"]
Side = Annotated[int, Field(ge=1, le=65535)]

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

#: Check, as Dagster shows it -> the thresholds that belong to it.
QUALITY_CHECKS: Mapping[str, tuple[str, ...]] = {
    "psnr": ("psnr_y_min_db",),
    "ssim": ("ssim_y_min", "ssim_y_half_min", "worst_window_min"),
    "no_lines": ("lines_coherence_max", "lines_step_max"),
    "edges_preserved": ("edge_pixel_loss_max",),
    "colors_kept": ("color_shift_255_max", "local_color_shift_255_max"),
    "detail_kept": (
        "subpixel_shift_px_max",
        "detail_ratio_min",
        "detail_ratio_max",
        "occupancy_ratio_min",
        "grid_ratio_max",
    ),
    "matte": ("foreground_min", "foreground_max", "components_max", "soft_band_px_max"),
}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class RembgSettings(Section):
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
    subject_minimum: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="A network whose largest probability is below this has found no subject (0..1).",
    )
    guard_iou: float = Field(
        0.8,
        ge=0.0,
        le=1.0,
        description="The refined alpha is dropped where it overlaps the mask by less than this IoU (0..1).",
    )
    confidence_minimum: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        description="Mattes that `classical` is less sure of are rejected (0..1).",
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.background_threshold >= self.foreground_threshold:
            raise ValueError(
                f"background_threshold ({self.background_threshold}) must be below "
                f"foreground_threshold ({self.foreground_threshold}), as in 10 and 240"
            )
        return self


class UpscaleSettings(Section):
    """Enlarging."""

    model: str = Field(
        "realesrgan-anime-6b",
        min_length=1,
        description="Model name (`imgpipe models list`), a path to a weights file, `lanczos` or `bicubic`.",
    )
    backend: UpscaleBackend = Field(
        "auto",
        description="What runs the weights file; `auto`: .onnx onnxruntime, .pb dnn_superres, else spandrel.",
    )
    scale: float = Field(4.0, gt=0.0, le=16.0, description="Output size / input size (above 0, up to 16).")
    target_size: tuple[Side, Side] | None = Field(
        None,
        description="[width, height] in px: as large as fits into it, aspect kept, in place of `scale`.",
    )
    min_dimensions: tuple[Side, Side] | None = Field(
        None,
        description="[width, height] in px that the result reaches at least, by more than `scale` if needed.",
    )
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
    alpha: Literal["lanczos", "network"] = Field(
        "lanczos", description="How a network's alpha is enlarged: Lanczos without ringing, or the network."
    )
    tta: bool = Field(
        False, description="Average over the 8 turns and mirrorings of each tile: 8 times the time."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "auto", description="Tiles computed at once (1..64), or `auto`: 1 on a CPU, by memory on a GPU."
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

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.target_size is not None and self.min_dimensions is not None:
            raise ValueError("target_size and min_dimensions exclude each other: one box decides the size")
        return self


class EnhanceSettings(Section):
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
    save_format_priority: tuple[Literal["PNG", "WEBP", "JPEG", "JXL"], ...] = Field(
        ("PNG", "WEBP", "JPEG"),
        description="Formats in the order in which they are tried; JXL (lossless) needs its plugin.",
    )
    quality: int = Field(95, ge=90, le=100, description="Quality of lossy formats, at least 90 (90..100).")

    @field_validator("save_format_priority")
    @classmethod
    def _formats_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"expected each format at most once and at least one, got {list(value)}")
        return value


class QualitySettings(Section):
    """Scores and verdicts."""

    profile: Literal["auto", "classical", "realesrgan"] = Field(
        "auto",
        description=(
            "Set of thresholds: `classical`, `realesrgan`, or a YAML file with a `quality` section, as "
            "`imgpipe calibrate` writes it; `auto` takes the one of the upscaler that was used."
        ),
    )
    profile_name: str = Field(
        "", max_length=64, description="Name that verdicts record for the profile; a profile's file sets it."
    )
    thresholds: Mapping[str, float] = Field(
        default_factory=dict,
        description="Single thresholds that replace the profile's, by name (docs/quality.md lists them).",
    )
    severity: Mapping[str, Severity] = Field(
        default_factory=dict,
        description=(
            "What a failed check means, by threshold or check (`psnr: warn`): `error` rejects the image, "
            "`warn` and `info` only say so."
        ),
    )
    diff: bool = Field(True, description="Write diff.png, the heat map of differences, per image.")

    @model_validator(mode="before")
    @classmethod
    def _profile_from_file(cls, value: Any) -> Any:
        """A profile's file gives what is not given beside it, so that the settings hold all of it."""
        if not isinstance(value, Mapping) or str(value.get("profile", "auto")) in _PROFILES:
            return value
        stored = _read_profile(Path(str(value["profile"])).expanduser())
        merged = {**stored, **{key: given for key, given in value.items() if key != "profile"}}
        for name in ("thresholds", "severity"):
            merged[name] = {**(stored.get(name) or {}), **(value.get(name) or {})}
        return merged

    @field_validator("severity")
    @classmethod
    def _by_threshold(cls, value: Mapping[str, Severity]) -> Mapping[str, Severity]:
        known = {**QUALITY_CHECKS, **{name: (name,) for name in THRESHOLD_RANGES}}
        unknown = [name for name in value if name not in known]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no check and no threshold; {suggest(unknown[0], known)}")
        groups_first = sorted(value, key=lambda name: name not in QUALITY_CHECKS)
        return {threshold: value[name] for name in groups_first for threshold in known[name]}

    @field_validator("thresholds")
    @classmethod
    def _known_and_possible(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, number in value.items():
            if name not in THRESHOLD_RANGES:
                raise ValueError(f"{name!r} is no threshold; {suggest(name, THRESHOLD_RANGES)}")
            low, high = THRESHOLD_RANGES[name]
            if not low <= number <= high:
                raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {number:g}")
        return dict(value)


_PROFILES = ("auto", "classical", "realesrgan")


def _read_profile(path: Path) -> dict[str, Any]:
    """The ``quality`` section of a profile's file; ValueError where there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ValueError(f"expected one of {', '.join(_PROFILES)} or a readable YAML file: {exc}") from exc
    section = content.get("quality") if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"{path}: expected a `quality:` section, as `imgpipe calibrate --write` makes it")
    if str(section.get("profile", "auto")) not in _PROFILES:
        raise ValueError(
            f"{path}: a profile's file must name one of {', '.join(_PROFILES)}, not another file"
        )
    return {"profile_name": path.stem, **section}


class LimitSettings(Section):
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


class IsolationSettings(Section):
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


class S3Settings(Section):
    """How S3 is reached; credentials come from the usual AWS places, never from this file."""

    endpoint_url: str | None = Field(
        None, description="Address of an S3-compatible server (MinIO and friends); empty for AWS."
    )
    region: str | None = Field(None, description="Region name; empty for the environment's.")


class AutomationSettings(Section):
    """What happens by itself: finding new sources, sealing shards, and backfills."""

    mode: Literal["schedule", "conditions", "off"] = Field(
        "schedule",
        description="What requests runs: the arrival sensor and a backfill schedule, the sensor and "
        "Dagster's declarative conditions, or nothing.",
    )
    enabled: bool = Field(
        False, description="Sensors and schedule start with the code location; else switch them on in the UI."
    )
    prefixes: tuple[str, ...] = Field(
        ("",), description="Where new sources are looked for: beginnings of keys below `source`."
    )
    source_list: str | None = Field(
        None,
        min_length=1,
        description="Parquet or CSV list of the sources, or an S3 inventory (its manifest.json, or the "
        "folder that holds the dated ones), read in place of listing `source`.",
    )
    source_list_complete: bool = Field(
        True, description="What `source_list` does not name is deleted; false: it is left alone."
    )
    interval_seconds: int = Field(
        60, ge=1, le=86_400, description="Shortest time between two looks of the arrival sensor, seconds."
    )
    objects_per_tick: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Sources that one look compares; the next one goes on there.",
    )
    max_wait_seconds: float = Field(
        3600.0, ge=0.0, description="Longest wait of a new source for its shard to fill, seconds."
    )
    cron: str = Field(
        "*/15 * * * *",
        min_length=1,
        description="When the backfill schedule looks, as a cron expression in UTC.",
    )
    report_cron: str = Field(
        "0 * * * *",
        min_length=1,
        description="When the report is made again if tables or decisions have changed, cron in UTC.",
    )
    max_partitions_per_tick: int = Field(
        10, ge=1, le=10_000, description="Partitions that the backfill schedule keeps queued or running."
    )
    gpu_minutes_per_day: float | None = Field(
        None,
        gt=0,
        description="GPU minutes per UTC day for backfills, estimated from recorded times; null = any.",
    )
    newest_first: bool = Field(
        True, description="Among equally urgent partitions the newest come first, else the oldest."
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts at one image, and failed runs of one partition, before giving up.",
    )
    infrastructure_retries: int = Field(
        3,
        ge=0,
        le=20,
        description="Retries of a step, each after twice the wait, when the store does not answer.",
    )

    @field_validator("prefixes")
    @classmethod
    def _prefixes_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('expected at least one prefix; "" is everything below the source')
        ordered = sorted(value)
        for shorter, longer in itertools.pairwise(ordered):
            if longer.startswith(shorter):
                raise ValueError(f"{longer!r} lies below {shorter!r}; keep one of them")
        return tuple(ordered)

    @model_validator(mode="after")
    def _one_way_to_look(self) -> Self:
        if self.source_list is not None and self.prefixes != ("",):
            raise ValueError("source_list replaces listing by prefixes; set one of the two")
        return self


class AssetSettings(Section):
    """What the assets say of themselves in the Dagster UI."""

    owners: tuple[str, ...] = Field(
        (), description="Owners of every asset: e-mail addresses, or teams as in `team:art`."
    )
    fresh_within_hours: float | None = Field(
        None,
        ge=0.1,
        le=87600,
        description="An asset without a materialization for this long counts as stale, hours; null = never.",
    )
    code_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="Address of the source tree that links to code lead to, "
        "as in https://host/imgpipe/blob/main; null = the installed files.",
    )

    @field_validator("owners")
    @classmethod
    def _who_can_be_asked(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not re.fullmatch(r"team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", owner):
                raise ValueError(f"an owner is an e-mail address or team:name, {owner!r} is neither")
        if len(set(value)) != len(value):
            raise ValueError(f"each owner may stand only once, got {list(value)}")
        return value


class CostSettings(Section):
    """What computing costs, for estimates in the UI."""

    price_per_hour: float | None = Field(
        None, ge=0, le=100_000, description="Price of the machine per hour; null = no estimates."
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Currency of the price, ISO 4217.")


class ReviewSettings(Section):
    """Decisions of people about single images."""

    user: str = Field("", max_length=200, description="Name to decide under; empty = the login name.")


def suggest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    """The nearest known name as a question, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid names: " + ", ".join(sorted(known))
