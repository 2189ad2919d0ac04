"""The verdict on one result: every metric, every check, in one call.

With an alpha channel on either side both pictures are composited over black and over white, every metric
is taken on both, and the worse value counts; pixels are weighted by the larger of the two alphas.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from imgpipe.errors import ConfigError
from imgpipe.images.colour import luma
from imgpipe.images.image import Image
from imgpipe.quality import metrics as registry
from imgpipe.quality.blocking import grid_ratio
from imgpipe.quality.colour_shift import colour_shift, local_colour_shift
from imgpipe.quality.detail import detail_ratio
from imgpipe.quality.edge_pixel_loss import EdgeBox, EdgeLossReport, matte_edge_loss, picture_edge_loss
from imgpipe.quality.gmsd import gmsd
from imgpipe.quality.line_report import LinesReport
from imgpipe.quality.lines import find_lines
from imgpipe.quality.matte_checks import matte_facts
from imgpipe.quality.ms_ssim import ms_ssim
from imgpipe.quality.occupancy import occupancy_ratio
from imgpipe.quality.profiles import check_all, choose_profile, thresholds_for
from imgpipe.quality.psnr import psnr
from imgpipe.quality.report import CheckResult, QualityReport, Severity, Threshold
from imgpipe.quality.round_trip import (
    Float,
    Reduced,
    area_average,
    comparison_size,
    inside_the_cutout,
    reduce_picture,
    rgb_over,
)
from imgpipe.quality.ssim import crop_to_centres, fits_window, ssim, ssim_map
from imgpipe.quality.subpixel_shift import subpixel_shift
from imgpipe.quality.worst_window import worst_window
from imgpipe.records import ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings

WHITE = (255, 255, 255)
#: Differences below this are float rounding (a 16-bit level is 0.0039), 1/255.
IDENTICAL_255 = 2e-4
#: Alpha from which a pixel counts as opaque.
OPAQUE = 0.98


@dataclass(frozen=True, slots=True)
class MatteEvidence:
    """The picture before matting and the cutout after it, of one size; the cutout has alpha."""

    source: Image
    cutout: Image


@dataclass(slots=True)
class _Findings:
    """What is collected while measuring; the worse of two backgrounds stays."""

    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    identical: bool = True
    lines: LinesReport = field(default_factory=LinesReport)
    boxes: tuple[EdgeBox, ...] = ()
    picture_loss: float | None = None

    def add(self, name: str, value: float | None, otherwise: str = "") -> None:
        if value is None or not math.isfinite(value):
            if otherwise:
                self.note(f"{name}: {otherwise}")
            return
        before = self.metrics.get(name)
        self.metrics[name] = value if before is None else registry.worse(name, before, value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class _Pair:
    """Reference and round trip at comparison size, over one background, and both lumas at full size."""

    reference: Float
    round_trip: Float
    reference_full_y: Float
    result_full_y: Float
    weight: Float | None
    interior: Float | None
    reference_y: Float
    round_trip_y: Float


def score(
    reference: Image,
    result: Image,
    *,
    settings: QualitySettings,
    tile_grid: TileGrid | None = None,
    matte: MatteEvidence | None = None,
    model: ModelUse | None = None,
) -> QualityReport:
    """Compare ``result`` with the picture it was made from, and judge it.

    ``reference``: the stored picture that went into the upscaler (or the source); ``result``: the stored
    picture that came out, of any size of the same proportions (one pixel of rounding per side), else
    :class:`ConfigError`. ``tile_grid``: where the upscaler cut, in reference px; ``None`` = not known.
    Grey, RGB, with and without alpha, 8 and 16 bits, from 1x1 px.
    """
    size = comparison_size(reference, result)
    whole = reference
    reference, result = inside_the_cutout(reference, result)
    profile = choose_profile(settings, model)
    thresholds = thresholds_for(profile, settings)
    found = _Findings()
    if (reference.icc or b"") != (result.icc or b""):
        found.note("the colour profiles differ; values are compared as stored")
    if reference is not whole:
        found.note("the reference is opaque, the result a cutout: they are compared inside the cutout")
    with found.timed("round_trip"):
        before, after = reduce_picture(reference, size), reduce_picture(result, size)
        weight = _visible_weight(before, after)
        interior = None if weight is None else _interior(before, after)
    _measure_over(before, after, weight, interior, found, tile_grid, thresholds)
    if weight is not None:
        with found.timed("round_trip"):
            before, after = before.over_white(), after.over_white()
        _measure_over(before, after, weight, interior, found, tile_grid, thresholds)
    with found.timed("occupancy"):
        found.add("occupancy_ratio", occupancy_ratio(reference, result), "nothing is visible")
    edges = _edges(found, matte, thresholds["edge_pixel_loss_max"].value)
    if edges.score is not None:
        found.metrics["edge_pixel_loss"] = edges.score
    return _verdict(found, edges, settings.profile_name or profile, thresholds)


def _visible_weight(before: Reduced, after: Reduced) -> Float | None:
    """The larger of both alphas at comparison size, 0..1; ``None`` where both pictures are opaque."""
    if before.alpha is None and after.alpha is None:
        return None
    if before.alpha is None or after.alpha is None:
        return np.ones(before.rgb.shape[:2], np.float32)
    return np.maximum(before.alpha, after.alpha)


def _interior(before: Reduced, after: Reduced) -> Float:
    """1 where both pictures are opaque for 2 px around, else 0, at comparison size.

    A cutout's border against the background is the strongest edge there is. How an enlargement softens
    it would drown the detail inside, which is what the detail ratio is about.
    """
    opaque = np.ones(before.rgb.shape[:2], np.uint8)
    for alpha in (before.alpha, after.alpha):
        if alpha is not None:
            opaque &= (alpha > OPAQUE).astype(np.uint8)
    inside = cv2.erode(opaque, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(inside, np.float32)


def _measure_over(
    before: Reduced,
    after: Reduced,
    weight: Float | None,
    interior: Float | None,
    found: _Findings,
    tile_grid: TileGrid | None,
    thresholds: Mapping[str, Threshold],
) -> None:
    """Everything that is measured over one background."""
    y = luma(before.rgb), luma(after.rgb)
    pair = _Pair(before.rgb, after.rgb, before.full_luma, after.full_luma, weight, interior, *y)
    _measure(pair, found)
    _measure_full_size(pair, found, tile_grid, thresholds)


def _measure(pair: _Pair, found: _Findings) -> None:
    """All metrics at comparison size."""
    a, b, w = pair.reference, pair.round_trip, pair.weight
    ya, yb = pair.reference_y, pair.round_trip_y
    with found.timed("psnr"):
        identical = float(cv2.norm(a, b, cv2.NORM_INF)) < IDENTICAL_255
        found.identical = found.identical and identical
        if not identical:
            found.add("psnr", psnr(a, b, w))
            found.add("psnr_y", psnr(ya, yb, w))
    with found.timed("ssim"):
        _measure_ssim(pair, found)
    with found.timed("colour"):
        found.add("color_shift_255", colour_shift(a, b, w), "nothing is visible")
        found.add("local_color_shift_255", local_colour_shift(a, b, w), "nothing is visible")
    with found.timed("structure"):
        shift = subpixel_shift(ya, yb)
        found.add(
            "subpixel_shift_px", None if shift is None else math.hypot(*shift), "the picture has no structure"
        )
        if pair.interior is None or pair.interior.any():
            found.add("detail_ratio", detail_ratio(ya, yb, pair.interior))
        else:
            found.note("detail_ratio: nothing is opaque")
    with found.timed("edges"):
        small = "the picture is smaller than 6 px"
        found.add("gmsd", gmsd(ya, yb, w), small)
        loss, boxes = picture_edge_loss(a, b)
        if loss is not None and loss >= (found.picture_loss or 0.0):
            found.picture_loss, found.boxes = loss, boxes


def _measure_ssim(pair: _Pair, found: _Findings) -> None:
    if not fits_window(pair.reference_y.shape):
        found.note("ssim, ssim_y: the picture is smaller than the 11 px window")
    else:
        found.add("ssim", ssim(pair.reference, pair.round_trip, pair.weight), "nothing is visible")
        found.add("ssim_y", ssim(pair.reference_y, pair.round_trip_y, pair.weight), "nothing is visible")
    small = "the picture is smaller than 176 px"
    found.add("ms_ssim", ms_ssim(pair.reference_y, pair.round_trip_y, pair.weight), small)
    height, width = pair.reference_y.shape
    half = (max(1, width // 2), max(1, height // 2))
    if not fits_window(half):
        found.note("ssim_y_half, worst_window: half the picture is smaller than the 11 px window")
        return
    similarity = ssim_map(area_average(pair.reference_y, half), area_average(pair.round_trip_y, half))
    weight = None if pair.weight is None else crop_to_centres(area_average(pair.weight, half))
    mean: float | None = float(similarity.mean(dtype=np.float64))
    if weight is not None:
        mass = float(weight.sum(dtype=np.float64))
        mean = float(np.sum(similarity * weight, dtype=np.float64)) / mass if mass > 0 else None
    found.add("ssim_y_half", mean, "nothing is visible")
    lowest = worst_window(similarity, weight)
    found.add("worst_window", None if lowest is None else lowest[0], "nothing is visible")


def _measure_full_size(
    pair: _Pair, found: _Findings, tile_grid: TileGrid | None, thresholds: Mapping[str, Threshold]
) -> None:
    """What shows at the result's own size only."""
    with found.timed("blocking"):
        ratio = grid_ratio(pair.reference_full_y, pair.result_full_y)
        found.add("grid_ratio", ratio, "the result is smaller than 32 px")
    with found.timed("lines"):
        lines = find_lines(
            pair.reference_full_y,
            pair.result_full_y,
            tile_grid,
            coherence_max=thresholds["lines_coherence_max"].value,
            step_max=thresholds["lines_step_max"].value,
        )
    found.add("lines_coherence", lines.score)
    found.add("lines_step", lines.step)
    if found.lines.mode == "not_applicable" or len(lines.boxes) > len(found.lines.boxes):
        found.lines = lines
    if lines.note:
        found.note(f"lines ({lines.mode.replace('_', ' ')}): {lines.note}")


def _edges(found: _Findings, matte: MatteEvidence | None, threshold: float) -> EdgeLossReport:
    """Both parts of the edge loss, and the facts of the matte where there is one."""
    if matte is None:
        return EdgeLossReport(found.picture_loss, None, found.boxes)
    source, cutout = matte.source, matte.cutout
    if cutout.alpha is None:
        raise ConfigError("matte: expected a cutout with alpha, got an opaque picture")
    if (source.width, source.height) != (cutout.width, cutout.height):
        raise ConfigError(
            f"matte: expected source and cutout of one size, got {source.width}x{source.height} "
            f"and {cutout.width}x{cutout.height}"
        )
    with found.timed("matte"):
        alpha = cutout.alpha.astype(np.float32) / np.float32(cutout.max_value)
        facts = matte_facts(alpha)
        for name in facts.__slots__:
            value = getattr(facts, name)
            found.add(f"matte_{name}", None if value is None else float(value), "the subject has no border")
        loss, boxes = matte_edge_loss(rgb_over(source, WHITE), alpha, box_above=threshold)
        found.add("matte_edge_loss", loss, "too few edges at the subject's border")
    return EdgeLossReport(found.picture_loss, loss, (*boxes, *found.boxes))


def _verdict(
    found: _Findings, edges: EdgeLossReport, profile: str, thresholds: Mapping[str, Threshold]
) -> QualityReport:
    checks = check_all(found.metrics, thresholds)
    return QualityReport(
        status=Status.REJECTED if _rejects(checks) else Status.OK,
        reasons=_reasons(checks),
        metrics={name: found.metrics[name] for name in registry.METRICS if name in found.metrics},
        identical=found.identical,
        lines=found.lines,
        edges=edges,
        thresholds=thresholds,
        checks=checks,
        profile=profile,
        seconds=found.seconds,
        notes=tuple(found.notes),
    )


def _rejects(checks: tuple[CheckResult, ...]) -> bool:
    return any(not check.passed and check.severity is Severity.ERROR for check in checks)


def _reasons(checks: tuple[CheckResult, ...]) -> tuple[str, ...]:
    failed = [check for check in checks if not check.passed and check.severity is not Severity.INFO]
    errors = [check.message for check in failed if check.severity is Severity.ERROR]
    warnings = [f"warning: {check.message}" for check in failed if check.severity is Severity.WARN]
    return (*errors, *warnings)
