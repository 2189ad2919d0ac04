"""Which thresholds apply to an image, and the checks that are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from imgpipe.metrics import LIMITS
from imgpipe.quality.report import CheckResult, Severity, Threshold
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

#: Backends and model names that add no detail of their own; what begins the names of the package's networks,
#: and what those of Real-ESRGAN's hold.
CLASSICAL_NAMES = frozenset({"", "none", "classical", "pillow", "opencv", "cv2", "lanczos", "bicubic"})
_OWN, _REALESRGAN = "imgpipe-", "realesr"


def choose_profile(settings: QualitySettings, model: ModelUse | None) -> str:
    """The profile's name: the configured one, or for ``auto`` the one of the model that was used."""
    if settings.profile != "auto":
        return settings.profile
    if model is None or model.backend.lower() in CLASSICAL_NAMES or model.name.lower() in CLASSICAL_NAMES:
        return "classical"
    if model.name.startswith(_OWN):
        return "lite"
    return "realesrgan" if _REALESRGAN in model.name.lower() else "network"


def why_profile(settings: QualitySettings, model: ModelUse | None, known_from: str) -> str:
    """Why :func:`choose_profile` chooses what it does; ``known_from``: what names the model."""
    if settings.profile != "auto":
        return "as configured"
    return "nothing enlarged it" if model is None else f"{known_from} names its maker, {model.name}"


def thresholds_for(profile: str, settings: QualitySettings) -> dict[str, Threshold]:
    """Thresholds in force by name: the profile's, with what is configured in its place, without a margin."""
    values, severities = settings.thresholds, settings.severity
    return {
        name: Threshold(
            name,
            float(values.get(name, limit.default(profile))),
            limit.direction,
            Severity(severities.get(name, limit.severity)),
            0.0 if name in values else limit.margin,
        )
        for name, limit in LIMITS.items()
    }


def check_all(
    metrics: Mapping[str, float],
    thresholds: Mapping[str, Threshold],
    reached: Mapping[str, float] = MappingProxyType({}),
) -> tuple[CheckResult, ...]:
    """One result per threshold whose metric applies; an unmeasured metric passes with ``value=None``.

    ``reached``: metrics of a Lanczos enlargement of the same source, where some were needed.
    """
    return tuple(_check(metrics, threshold, reached) for threshold in thresholds.values())


def _check(metrics: Mapping[str, float], threshold: Threshold, reached: Mapping[str, float]) -> CheckResult:
    limit = LIMITS[threshold.name]
    value = metrics.get(limit.metric)
    if value is None:
        message = f"{limit.metric} was not measured"
        return CheckResult(threshold.name, True, threshold.severity, None, threshold.value, message)
    allowed = threshold.relaxed(reached.get(limit.metric)) if threshold.misses(value) else threshold
    passed = not allowed.misses(value)
    bound = "at least" if threshold.direction == "min" else "at most"
    message = f"{limit.metric} {value:.4g}, {bound} {allowed.value:.4g}"
    if not passed:
        message = limit.message(value, allowed.value)
    if allowed is not threshold and allowed.value != threshold.value:
        part = "less" if threshold.direction == "min" else "and"
        message += f": what a Lanczos enlargement of this source reaches, {part} {threshold.margin:g}"
    return CheckResult(threshold.name, passed, threshold.severity, value, threshold.value, message)


def is_beyond(metric: str, value: float, thresholds: Mapping[str, Threshold]) -> bool:
    """Whether ``value`` misses a threshold of ``metric``."""
    return any(one.misses(value) for one in thresholds.values() if LIMITS[one.name].metric == metric)
