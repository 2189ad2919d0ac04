"""The verdict on one result: every metric, every check, in one call.

With an alpha channel on either side both pictures are composited over black and over white, every metric
is taken on both, and the worse value counts; pixels are weighted by the larger of the two alphas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from imgpipe.errors import ConfigError
from imgpipe.images.colour import to_srgb
from imgpipe.images.image import Image
from imgpipe.metrics import LIMITS, METRICS
from imgpipe.pixels.difference import larger_difference
from imgpipe.pixels.round_trip import comparison_size, inside_the_cutout, reduce_pair, rgb_bands
from imgpipe.quality.comparison import Pair, measure, pairs_of
from imgpipe.quality.edge_pixel_loss import matte_edge_loss
from imgpipe.quality.findings import Findings
from imgpipe.quality.lines import find_lines
from imgpipe.quality.matte_checks import matte_facts
from imgpipe.quality.matte_evidence import matte_evidence
from imgpipe.quality.occupancy import occupancy_ratio
from imgpipe.quality.profiles import check_all, choose_profile, is_beyond, thresholds_for
from imgpipe.quality.reachable import lanczos_reaches
from imgpipe.quality.report import EdgeLossReport, QualityReport, Severity, Threshold
from imgpipe.quality.shown import profile_loss, profile_notes
from imgpipe.records import ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings

WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class MatteEvidence:
    """The picture before matting and the cutout after it, of one size; the cutout has alpha. ``said``: what
    matting measured itself, of which the metrics of the table count."""

    source: Image
    cutout: Image
    said: Mapping[str, float] = field(default_factory=dict)


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
    Both are compared as an sRGB screen shows them (:func:`imgpipe.images.colour.to_srgb`).
    Grey, RGB, with and without alpha, 8 and 16 bits, from 1x1 px.
    """
    size = comparison_size(reference, result)
    whole = reference
    reference, result = inside_the_cutout(reference, result)
    profile = choose_profile(settings, model)
    thresholds = thresholds_for(profile, settings)
    found = Findings()
    profile_notes(reference, result, found)
    if reference is not whole:
        found.note("the reference is opaque, the result a cutout: they are compared inside the cutout")
    with found.timed("round_trip"):
        stored = reference, result
        reference, result = to_srgb(reference), to_srgb(result)
        before, after = reduce_pair(reference, result, size)
        found.add("profile_loss_255", profile_loss(*stored, before, after))
        del stored  # Where they are masked, they are copies.
    for pair in pairs_of(before, after, found):
        _measure_over(pair, found, tile_grid, thresholds, settings.diff)
    with found.timed("occupancy"):
        found.add("occupancy_ratio", occupancy_ratio(reference, result), "nothing is visible")
    size = result.width, result.height
    del before, after, pair, result, whole  # What follows needs the memory.
    reached = _reached(found, reference, size, thresholds)
    del reference
    edges = _edges(found, matte, thresholds)
    if edges.score is not None:
        found.metrics["edge_pixel_loss"] = edges.score
    return _verdict(found, edges, settings.profile_name or profile, thresholds, reached)


def _reached(
    found: Findings, reference: Image, size: tuple[int, int], thresholds: Mapping[str, Threshold]
) -> Mapping[str, float]:
    """What its Lanczos enlargement to ``size`` reaches, where a value misses a threshold with a margin."""
    failing = [
        one
        for name, one in thresholds.items()
        if one.margin and one.misses(found.metrics.get(LIMITS[name].metric, one.value))
    ]
    if not failing:
        return {}
    with found.timed("reachable"):
        return lanczos_reaches(reference, size)


def _measure_over(
    pair: Pair, found: Findings, tile_grid: TileGrid | None, thresholds: Mapping[str, Threshold], heat: bool
) -> None:
    """Everything that is measured over one background; ``heat``: the differences as well."""
    measure(pair, found)
    if heat:
        with found.timed("diff"):
            found.differences = larger_difference(pair.reference, pair.round_trip, found.differences)
    with found.timed("lines"):
        lines = find_lines(
            pair.full_reference_y,
            pair.full_result,
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


def _edges(
    found: Findings, matte: MatteEvidence | None, thresholds: Mapping[str, Threshold]
) -> EdgeLossReport:
    """Both parts of the edge loss, and the facts of the matte where there is one."""
    fine = tuple(box for box in found.fine_boxes if is_beyond(box.kind, box.value, thresholds))
    if matte is None:
        return EdgeLossReport(found.picture_loss, None, (*found.boxes, *fine))
    source, cutout = matte.source, matte.cutout
    if cutout.alpha is None:
        raise ConfigError("matte: expected a cutout with alpha, got an opaque picture")
    if (source.width, source.height) != (cutout.width, cutout.height):
        raise ConfigError(
            f"matte: expected source and cutout of one size, got {source.width}x{source.height} "
            f"and {cutout.width}x{cutout.height}"
        )
    found.metrics.update((name, value) for name, value in matte.said.items() if name in METRICS)
    with found.timed("matte"):
        alpha = cutout.alpha.astype(np.float32) / np.float32(cutout.max_value)
        for name, value in matte_facts(alpha).items():
            found.add(f"matte_{name}", value, "the subject has no border")
        limit = thresholds["edge_pixel_loss_max"].value
        loss, boxes = matte_edge_loss(rgb_bands(to_srgb(source), WHITE), alpha, box_above=limit)
        found.add("matte_edge_loss", loss, "too few edges at the subject's border")
        evidence, places = matte_evidence(source, cutout)
        for name, value in evidence.items():
            found.add(f"matte_{name}", value)
    wrong = tuple(box for box in places if is_beyond(f"matte_{box.kind}", box.value, thresholds))
    return EdgeLossReport(found.picture_loss, loss, (*boxes, *wrong, *found.boxes, *fine))


def _verdict(
    found: Findings,
    edges: EdgeLossReport,
    profile: str,
    thresholds: Mapping[str, Threshold],
    reached: Mapping[str, float],
) -> QualityReport:
    checks = check_all(found.metrics, thresholds, reached)
    for check in checks:
        if check.passed and check.value is not None and thresholds[check.name].misses(check.value):
            found.note(check.message)
    failed = [check for check in checks if not check.passed]
    errors = [check.message for check in failed if check.severity is Severity.ERROR]
    warnings = [f"warning: {check.message}" for check in failed if check.severity is Severity.WARN]
    return QualityReport(
        status=Status.REJECTED if errors else Status.OK,
        reasons=(*errors, *warnings),
        metrics={name: found.metrics[name] for name in METRICS if name in found.metrics},
        identical=found.identical,
        lines=found.lines,
        edges=edges,
        thresholds=thresholds,
        checks=checks,
        profile=profile,
        seconds=found.seconds,
        notes=tuple(found.notes),
        differences=found.differences,
    )
