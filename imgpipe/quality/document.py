"""``quality.json``: the verdict on one image as a JSON object, and its published schema.

The schema (draft 2020-12) ships as ``quality.schema.json`` beside this module. Numbers are finite: a
metric that could not be measured is ``null``, and ``notes`` says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from imgpipe.errors import ConfigError
from imgpipe.quality.metrics import METRICS
from imgpipe.quality.report import CheckResult, QualityReport, Threshold
from imgpipe.records import ModelUse, TileGrid

SCHEMA_VERSION = "1"

#: Metrics that stand at the top of the document; all of them also stand in ``scores``.
_TOP = (
    "psnr_y",
    "ssim_y",
    "ssim_y_half",
    "worst_window",
    "color_shift_255",
    "local_color_shift_255",
    "subpixel_shift_px",
    "detail_ratio",
)
_COUNTS = frozenset({"matte_components", "matte_holes"})


def build_document(
    report: QualityReport,
    *,
    original_size_bytes: int,
    enhanced_size_bytes: int,
    dimensions_before: tuple[int, int],
    dimensions_after: tuple[int, int],
    model: ModelUse | None,
    tile_grid: TileGrid | None,
    timings_seconds: Mapping[str, float],
    input_sha256: str,
    output_sha256: str,
    config_hash: str,
    reference: str,
    matting_model: ModelUse | None = None,
    matting_metrics: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The object of quality.json, ready for ``json.dumps(..., allow_nan=False)``.

    ``dimensions_*`` are (width, height) px; ``reference`` names what the result was compared with (a key or
    a path); ``matting_metrics``: what the matting stage said of itself; ``timings_seconds`` step -> seconds,
    to which the report's own are added as ``score_*``.
    """
    scores = {name: _number(name, report.metrics.get(name)) for name in METRICS}
    return {
        "schema_version": SCHEMA_VERSION,
        "status": report.status.value,
        "reasons": list(report.reasons),
        "notes": list(report.notes),
        "reference": reference,
        "original_size_bytes": int(original_size_bytes),
        "enhanced_size_bytes": int(enhanced_size_bytes),
        "dimensions_before": [int(side) for side in dimensions_before],
        "dimensions_after": [int(side) for side in dimensions_after],
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        "identical": report.identical,
        **{name: scores[name] for name in _TOP},
        "artifacts_detected": {"lines": _lines(report), "edge_pixel_loss": _edge_pixel_loss(report)},
        "scores": scores,
        "thresholds": {name: _threshold(value) for name, value in report.thresholds.items()},
        "checks": [_check(check) for check in report.checks],
        "profile": report.profile,
        "matte": _matte(scores, matting_model, matting_metrics or {}),
        "model": None if model is None else model.as_dict(),
        "tile_grid": None if tile_grid is None else tile_grid.as_dict(),
        "timings_seconds": {
            **{name: round(float(value), 6) for name, value in timings_seconds.items()},
            **{f"score_{name}": round(float(value), 6) for name, value in report.seconds.items()},
        },
        "input_sha256": input_sha256,
        "output_sha256": output_sha256,
        "config_hash": config_hash,
    }


@lru_cache(maxsize=1)
def _schema_text() -> str:
    return files("imgpipe.quality").joinpath("quality.schema.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """The published JSON Schema of quality.json."""
    value: dict[str, Any] = json.loads(_schema_text())
    return value


def validate_document(document: Mapping[str, Any]) -> None:
    """Raises :class:`ConfigError` naming the first field that does not follow the schema."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    problem = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the document"
        raise ConfigError(f"quality.json: {place}: {problem.message}")


def _number(name: str, value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if name in _COUNTS else round(float(value), 6)


def _threshold(threshold: Threshold) -> dict[str, Any]:
    return {
        "value": threshold.value,
        "direction": threshold.direction,
        "severity": threshold.severity.value,
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "severity": check.severity.value,
        "value": None if check.value is None else round(check.value, 6),
        "threshold": check.threshold,
        "message": check.message,
    }


def _lines(report: QualityReport) -> dict[str, Any]:
    limits = report.thresholds
    return {
        "detected": _fails(report, "lines_coherence_max") or _fails(report, "lines_step_max"),
        "score": round(report.metrics.get("lines_coherence", 0.0), 6),
        "threshold": limits["lines_coherence_max"].value,
        "step_255": round(report.metrics.get("lines_step", 0.0), 6),
        "step_threshold_255": limits["lines_step_max"].value,
        "mode": report.lines.mode,
        "boxes": [box.as_dict() for box in report.lines.boxes],
    }


def _edge_pixel_loss(report: QualityReport) -> dict[str, Any]:
    return {
        "detected": _fails(report, "edge_pixel_loss_max"),
        "score": _number("edge_pixel_loss", report.metrics.get("edge_pixel_loss")),
        "threshold": report.thresholds["edge_pixel_loss_max"].value,
        "picture": _number("edge_pixel_loss", report.edges.picture),
        "matte": _number("edge_pixel_loss", report.edges.matte),
        "boxes": [box.as_dict() for box in report.edges.boxes],
    }


def _fails(report: QualityReport, name: str) -> bool:
    return any(check.name == name for check in report.failed)


def _matte(
    scores: Mapping[str, float | int | None], model: ModelUse | None, metrics: Mapping[str, float]
) -> dict[str, Any] | None:
    """The matte's facts without their prefix; ``None`` where no matte was given."""
    facts = {
        name.removeprefix("matte_"): value for name, value in scores.items() if name.startswith("matte_")
    }
    if facts["foreground"] is None:
        return None
    return {
        "subject": "found" if metrics.get("subject_found", facts["foreground"]) else "none",
        "subject_evidence": _number("subject_evidence", metrics.get("subject_evidence")),
        "confidence": _number("confidence", metrics.get("confidence")),
        **facts,
        "model": None if model is None else model.as_dict(),
    }
