"""``quality.json``: the verdict on one image as a JSON object.

Its JSON Schema (draft 2020-12) ships as ``quality.schema.json`` beside this module. Numbers are finite: a
metric that could not be measured is ``null``, and ``notes`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from imgpipe.metrics import METRICS
from imgpipe.quality.report import CheckResult, EdgeBox, LineBox, QualityReport
from imgpipe.records import ModelUse, TileGrid

SCHEMA_VERSION = "2"

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
_MATTE_PREFIX = "matte_"


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that a document is about.

    ``image_id``, ``dataset`` and ``shard`` are ``None`` for a file that does not belong to a data set.
    ``notes``: what decoding the source had to decide, as in "animated: first of 3 frames kept".
    """

    source_key: str
    image_id: str | None = None
    dataset: str | None = None
    shard: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture's file; ``dimensions``: (width, height), px."""

    size_bytes: int
    dimensions: tuple[int, int]
    sha256: str


@dataclass(frozen=True, slots=True)
class Making:
    """How the result was made.

    ``reference``: name of the asset whose picture the result was compared with, or ``source``.
    ``matting_metrics``: what the matting stage said of itself. ``fixing``: what fixing found and did.
    ``enhancement``: the limits of the enhanced file in bytes, whether they are met, and why not.
    ``timings_seconds``: asset -> seconds, the scoring's own aside. ``model_load_seconds``: what
    loading models took, once in the process. ``profile_reason``: why the profile is this one.
    """

    reference: str
    config_hash: str
    profile_reason: str = ""
    model: ModelUse | None = None
    tile_grid: TileGrid | None = None
    matting_model: ModelUse | None = None
    matting_metrics: Mapping[str, float] = field(default_factory=dict)
    enhancement: Mapping[str, Any] | None = None
    timings_seconds: Mapping[str, float] = field(default_factory=dict)
    fixing: Mapping[str, Any] | None = None
    model_load_seconds: float = 0.0


def build_document(
    report: QualityReport, subject: Subject, source: StoredPicture, result: StoredPicture, making: Making
) -> dict[str, Any]:
    """The object of quality.json, ready for ``json.dumps(..., allow_nan=False)``.

    The report's own seconds are added to the timings as ``score_*``, its notes to those of decoding. Shares
    are of all stages together, scoring (``quality_reports``) included, loading models not.
    """
    stages = {**making.timings_seconds, "quality_reports": sum(report.seconds.values())}
    whole = sum(stages.values())
    scores = {name: _score(name, report.metrics.get(name)) for name in METRICS}
    return {
        "schema_version": SCHEMA_VERSION,
        "status": report.status.value,
        "reasons": list(report.reasons),
        "source_key": subject.source_key,
        "image_id": subject.image_id,
        "dataset": subject.dataset,
        "shard": subject.shard,
        "notes": [*subject.notes, *report.notes],
        "reference": making.reference,
        "original_size_bytes": int(source.size_bytes),
        "enhanced_size_bytes": int(result.size_bytes),
        "dimensions_before": [int(side) for side in source.dimensions],
        "dimensions_after": [int(side) for side in result.dimensions],
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        "identical": report.identical,
        **{name: scores[name] for name in _TOP},
        "artifacts_detected": {"lines": _lines(report), "edge_pixel_loss": _edge_pixel_loss(report)},
        "scores": scores,
        "thresholds": {
            name: {"value": one.value, "direction": one.direction, "severity": one.severity.value}
            for name, one in report.thresholds.items()
        },
        "checks": [_check(check) for check in report.checks],
        "profile": report.profile,
        "profile_reason": making.profile_reason,
        "matte": _matte(scores, making),
        **({} if making.fixing is None else {"fix_artifacts": dict(making.fixing)}),
        "enhancement": None if making.enhancement is None else dict(making.enhancement),
        "model": None if making.model is None else making.model.as_dict(),
        "tile_grid": None if making.tile_grid is None else making.tile_grid.as_dict(),
        "timings_seconds": {
            **{name: round(float(value), 6) for name, value in stages.items()},
            "model_load": round(float(making.model_load_seconds), 6),
            **{f"score_{name}": round(float(value), 6) for name, value in report.seconds.items()},
        },
        "timings_share": {
            name: round(float(value / whole), 6) if whole else 0.0 for name, value in stages.items()
        },
        "input_sha256": source.sha256,
        "output_sha256": result.sha256,
        "config_hash": making.config_hash,
    }


def _score(name: str, value: float | None) -> float | int | None:
    return int(value) if value is not None and METRICS[name].digits == 0 else _rounded(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _check(check: CheckResult) -> dict[str, Any]:
    return {**asdict(check), "severity": check.severity.value, "value": _rounded(check.value)}


def _lines(report: QualityReport) -> dict[str, Any]:
    limits = report.thresholds
    return {
        "detected": _fails(report, "lines_coherence_max") or _fails(report, "lines_step_max"),
        "score": round(report.metrics.get("lines_coherence", 0.0), 6),
        "threshold": limits["lines_coherence_max"].value,
        "step_255": round(report.metrics.get("lines_step", 0.0), 6),
        "step_threshold_255": limits["lines_step_max"].value,
        "mode": report.lines.mode,
        "boxes": [_box(box) for box in report.lines.boxes],
    }


def _edge_pixel_loss(report: QualityReport) -> dict[str, Any]:
    return {
        "detected": _fails(report, "edge_pixel_loss_max"),
        "score": _rounded(report.metrics.get("edge_pixel_loss")),
        "threshold": report.thresholds["edge_pixel_loss_max"].value,
        "picture": _rounded(report.edges.picture),
        "matte": _rounded(report.edges.matte),
        "boxes": [_box(box) for box in report.edges.boxes],
    }


def _box(box: LineBox | EdgeBox) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(box).items()
    }


def _fails(report: QualityReport, name: str) -> bool:
    return any(check.name == name for check in report.failed)


def _matte(scores: Mapping[str, float | int | None], making: Making) -> dict[str, Any] | None:
    """The matte's facts without their prefix; ``None`` where no matte was given."""
    facts = {
        name.removeprefix(_MATTE_PREFIX): value
        for name, value in scores.items()
        if name.startswith(_MATTE_PREFIX)
    }
    if facts["foreground"] is None:
        return None
    metrics, model = making.matting_metrics, making.matting_model
    return {
        "subject": "found" if metrics.get("subject_found", facts["foreground"]) else "none",
        "subject_evidence": _rounded(metrics.get("subject_evidence")),
        "confidence": _rounded(metrics.get("confidence")),
        **facts,
        "model": None if model is None else model.as_dict(),
    }
