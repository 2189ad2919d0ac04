"""Settings of scoring: thresholds, severities, and profiles from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from imgpipe.metrics import LIMITS, PROFILES, Severity, limits_by_check
from imgpipe.settings.section import Section, suggest
from imgpipe.settings.yaml_text import parse_yaml

_PROFILES = ("auto", *PROFILES)


class QualitySettings(Section):
    """Scores and verdicts."""

    profile: Literal["auto", "classical", "lite", "network", "realesrgan"] = Field(
        "auto",
        description=(
            "Set of thresholds: `classical`, `lite`, `network`, `realesrgan`, or a YAML file with a "
            "`quality` section, as `imgpipe calibrate` writes it; `auto` takes the one of the upscaler that "
            "was used."
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
            "`warn` and `info` are only reported."
        ),
    )
    diff: bool = Field(True, description="Write diff.png, the heat map of differences, per image.")

    @model_validator(mode="before")
    @classmethod
    def _profile_from_file(cls, value: Any) -> Any:
        """Merge the profile's file into the values; what is given beside it takes precedence."""
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
        checks = limits_by_check()
        known = {**checks, **{name: (name,) for name in LIMITS}}
        unknown = [name for name in value if name not in known]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is neither a check nor a threshold; {suggest(unknown[0], known)}"
            )
        groups_first = sorted(value, key=lambda name: name not in checks)
        return {threshold: value[name] for name in groups_first for threshold in known[name]}

    @field_validator("thresholds")
    @classmethod
    def _known_and_possible(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, number in value.items():
            limit = LIMITS.get(name)
            if limit is None:
                raise ValueError(f"{name!r} is not a threshold; {suggest(name, LIMITS)}")
            if not limit.lowest <= number <= limit.highest:
                raise ValueError(f"{name} must lie in {limit.lowest:g}..{limit.highest:g}, got {number:g}")
        return dict(value)


def _read_profile(path: Path) -> dict[str, Any]:
    """The ``quality`` section of a profile's file; raises ValueError where there is none."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
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
