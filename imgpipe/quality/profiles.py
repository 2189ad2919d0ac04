"""Thresholds per kind of upscaler, and the checks that are made from them.

``classical`` (Lanczos, bicubic) follows gates found on drawings and confirmed on real frames;
``realesrgan`` is measured on real network outputs, which change more while being good. PSNR's gates are
low on purpose: a faithful enlargement of hard black-and-white line art reads 22 dB. The tables with what
was seen on good and on damaged pictures stand in ``docs/quality.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imgpipe.quality.report import CheckResult, Severity, Threshold
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

E, W = Severity.ERROR, Severity.WARN

#: Backends and model names that invent nothing.
CLASSICAL_NAMES = frozenset({"", "none", "classical", "pillow", "opencv", "cv2", "lanczos", "bicubic"})


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which metric a threshold limits, how, and how to say it. {v} is the value, {t} the threshold."""

    metric: str
    direction: str
    severity: Severity
    text: str


#: Threshold name -> rule, in the order in which reasons are given.
RULES: Mapping[str, _Rule] = {
    "psnr_y_min_db": _Rule(
        "psnr_y", "min", E, "brightness differs: PSNR {v:.1f} dB, at least {t:.1f} needed"
    ),
    "ssim_y_min": _Rule("ssim_y", "min", E, "structure differs: SSIM {v:.3f}, at least {t:.3f} needed"),
    "ssim_y_half_min": _Rule(
        "ssim_y_half", "min", E, "structure differs at half size: SSIM {v:.3f}, at least {t:.3f} needed"
    ),
    "worst_window_min": _Rule(
        "worst_window", "min", E, "one place is damaged: its SSIM is {v:.3f}, at least {t:.3f} needed"
    ),
    "color_shift_255_max": _Rule(
        "color_shift_255", "max", E, "colours shifted by {v:.1f} of 255, allowed {t:.1f}"
    ),
    "local_color_shift_255_max": _Rule(
        "local_color_shift_255", "max", E, "colours shifted in one place by {v:.1f} of 255, allowed {t:.1f}"
    ),
    "subpixel_shift_px_max": _Rule(
        "subpixel_shift_px", "max", E, "content displaced by {v:.2f} source px, allowed {t:.2f}"
    ),
    "detail_ratio_min": _Rule(
        "detail_ratio", "min", E, "blurred: detail ratio {v:.2f}, at least {t:.2f} needed"
    ),
    "detail_ratio_max": _Rule(
        "detail_ratio", "max", E, "over-sharpened: detail ratio {v:.2f}, allowed {t:.2f}"
    ),
    "occupancy_ratio_min": _Rule(
        "occupancy_ratio",
        "min",
        E,
        "posterised: {v:.2f} of the source's levels left, at least {t:.2f} needed",
    ),
    "grid_ratio_max": _Rule("grid_ratio", "max", E, "blocks on an 8 px grid: ratio {v:.2f}, allowed {t:.2f}"),
    "lines_coherence_max": _Rule(
        "lines_coherence",
        "max",
        E,
        "a straight line runs through the picture: coherence {v:.2f}, allowed {t:.2f}",
    ),
    "lines_step_max": _Rule(
        "lines_step", "max", E, "a step of {v:.1f} of 255 runs along a tile border, allowed {t:.1f}"
    ),
    "edge_pixel_loss_max": _Rule(
        "edge_pixel_loss", "max", E, "{v:.1%} of the strong edges are lost, allowed {t:.1%}"
    ),
    "foreground_min": _Rule(
        "matte_foreground", "min", E, "no subject found: it covers {v:.1%}, at least {t:.1%} needed"
    ),
    "foreground_max": _Rule(
        "matte_foreground", "max", E, "nothing was cut out: the subject covers {v:.1%}, allowed {t:.1%}"
    ),
    "components_max": _Rule("matte_components", "max", W, "the matte is in {v:.0f} pieces, allowed {t:.0f}"),
    "soft_band_px_max": _Rule(
        "matte_soft_band_px", "max", W, "the matte's border is {v:.1f} px wide, allowed {t:.1f}"
    ),
}

_MATTE = {
    "foreground_min": 0.01,
    "foreground_max": 0.98,
    "components_max": 6.0,
    "soft_band_px_max": 37.0,
}

PROFILES: Mapping[str, Mapping[str, float]] = {
    "classical": {
        "psnr_y_min_db": 20.0,
        "ssim_y_min": 0.93,
        "ssim_y_half_min": 0.985,
        "worst_window_min": 0.93,
        "color_shift_255_max": 2.0,
        "local_color_shift_255_max": 5.0,
        "subpixel_shift_px_max": 0.1,
        "detail_ratio_min": 0.55,
        "detail_ratio_max": 1.4,
        "occupancy_ratio_min": 0.3,
        "grid_ratio_max": 2.0,
        "lines_coherence_max": 0.35,
        "lines_step_max": 0.4,
        "edge_pixel_loss_max": 0.035,
        **_MATTE,
    },
    "realesrgan": {
        "psnr_y_min_db": 20.0,
        "ssim_y_min": 0.88,
        "ssim_y_half_min": 0.95,
        "worst_window_min": 0.75,
        "color_shift_255_max": 1.5,
        "local_color_shift_255_max": 6.0,
        "subpixel_shift_px_max": 0.1,
        "detail_ratio_min": 0.55,
        "detail_ratio_max": 2.5,
        "occupancy_ratio_min": 0.3,
        "grid_ratio_max": 2.0,
        "lines_coherence_max": 0.35,
        "lines_step_max": 1.0,
        "edge_pixel_loss_max": 0.035,
        **_MATTE,
    },
}


def choose_profile(settings: QualitySettings, model: ModelUse | None) -> str:
    """The profile's name: the configured one, or for ``auto`` the one of the model that was used."""
    if settings.profile != "auto":
        return settings.profile
    if model is None or model.backend.lower() in CLASSICAL_NAMES or model.name.lower() in CLASSICAL_NAMES:
        return "classical"
    return "realesrgan"


def thresholds_for(profile: str, settings: QualitySettings) -> dict[str, Threshold]:
    """Thresholds in force by name: the profile's, with what is configured in its place."""
    values = {**PROFILES[profile], **settings.thresholds}
    severities = {name: Severity(given) for name, given in settings.severity.items()}
    return {
        name: Threshold(name, float(values[name]), rule.direction, severities.get(name, rule.severity))
        for name, rule in RULES.items()
    }


def check_all(metrics: Mapping[str, float], thresholds: Mapping[str, Threshold]) -> tuple[CheckResult, ...]:
    """One result per threshold whose metric applies; an unmeasured metric passes with ``value=None``."""
    return tuple(_check(RULES[name], metrics, threshold) for name, threshold in thresholds.items())


def _check(rule: _Rule, metrics: Mapping[str, float], threshold: Threshold) -> CheckResult:
    value = metrics.get(rule.metric)
    if value is None:
        message = f"{rule.metric} was not measured"
        return CheckResult(threshold.name, True, threshold.severity, None, threshold.value, message)
    passed = value >= threshold.value if threshold.direction == "min" else value <= threshold.value
    found = rule.text.format(v=value, t=threshold.value)
    bound = "at least" if threshold.direction == "min" else "at most"
    message = f"{rule.metric} {value:.4g}, {bound} {threshold.value:g}" if passed else found
    return CheckResult(threshold.name, passed, threshold.severity, value, threshold.value, message)
