"""Which thresholds apply to an image, and the checks that are made from them."""

from __future__ import annotations

from collections.abc import Mapping

from imgpipe.metrics import LIMITS
from imgpipe.quality.report import CheckResult, Severity, Threshold
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

#: Backends and model names that add no detail of their own, and networks that are as faithful: 52 results of
#: imgpipe-lite on crops of real pictures pass all of the profile's limits.
CLASSICAL_NAMES = frozenset(
    {
        "",
        "none",
        "classical",
        "pillow",
        "opencv",
        "cv2",
        "lanczos",
        "bicubic",
        "imgpipe-lite",
        "imgpipe-lite-x2",
    }
)


def choose_profile(settings: QualitySettings, model: ModelUse | None) -> str:
    """The profile's name: the configured one, or for ``auto`` the one of the model that was used."""
    if settings.profile != "auto":
        return settings.profile
    if model is None or model.backend.lower() in CLASSICAL_NAMES or model.name.lower() in CLASSICAL_NAMES:
        return "classical"
    return "realesrgan"


def thresholds_for(profile: str, settings: QualitySettings) -> dict[str, Threshold]:
    """Thresholds in force by name: the profile's, with what is configured in its place."""
    values, severities = settings.thresholds, settings.severity
    return {
        name: Threshold(
            name,
            float(values.get(name, limit.default(profile))),
            limit.direction,
            Severity(severities.get(name, limit.severity)),
        )
        for name, limit in LIMITS.items()
    }


def check_all(metrics: Mapping[str, float], thresholds: Mapping[str, Threshold]) -> tuple[CheckResult, ...]:
    """One result per threshold whose metric applies; an unmeasured metric passes with ``value=None``."""
    return tuple(_check(metrics, threshold) for threshold in thresholds.values())


def _check(metrics: Mapping[str, float], threshold: Threshold) -> CheckResult:
    limit = LIMITS[threshold.name]
    value = metrics.get(limit.metric)
    if value is None:
        message = f"{limit.metric} was not measured"
        return CheckResult(threshold.name, True, threshold.severity, None, threshold.value, message)
    passed = not _misses(value, threshold)
    bound = "at least" if threshold.direction == "min" else "at most"
    message = f"{limit.metric} {value:.4g}, {bound} {threshold.value:g}"
    if not passed:
        message = limit.message(value, threshold.value)
    return CheckResult(threshold.name, passed, threshold.severity, value, threshold.value, message)


def is_beyond(metric: str, value: float, thresholds: Mapping[str, Threshold]) -> bool:
    """Whether ``value`` misses a threshold of ``metric``."""
    return any(_misses(value, one) for one in thresholds.values() if LIMITS[one.name].metric == metric)


def _misses(value: float, threshold: Threshold) -> bool:
    return value < threshold.value if threshold.direction == "min" else value > threshold.value
