"""Scores and verdicts: thresholds, the checks that they belong to, and profiles from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from imgpipe.settings.section import Section, suggest

Severity = Literal["error", "warn", "info"]
_PROFILES = ("auto", "classical", "realesrgan")

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
