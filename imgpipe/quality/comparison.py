"""Measures a pair of pictures over one background. :data:`MEASURES` lists the functions that do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.resize import area_average
from imgpipe.pixels.round_trip import Float, Reduced, Shown
from imgpipe.pixels.row_bands import Rows
from imgpipe.pixels.strips import spans
from imgpipe.quality.blocking import grid_ratio
from imgpipe.quality.colour_shift import colour_shift, local_colour_shift
from imgpipe.quality.detail import detail_ratio
from imgpipe.quality.detail_loss import detail_loss
from imgpipe.quality.edge_pixel_loss import picture_edge_loss
from imgpipe.quality.findings import Findings
from imgpipe.quality.fine_detail import fine_detail, is_enlarged, smooth_mask, spread_of
from imgpipe.quality.finest_texture import MAX_SCALE, MIN_SCALE, finest_texture
from imgpipe.quality.jpeg_traces import jpeg_traces
from imgpipe.quality.overshoot import overshoot
from imgpipe.quality.psnr import psnr
from imgpipe.quality.resize_trace import resize_trace
from imgpipe.quality.ssim import crop_to_centres, fits_window, ssim, ssim_map
from imgpipe.quality.structure_change import structure_change
from imgpipe.quality.subpixel_shift import subpixel_shift
from imgpipe.quality.worst_window import worst_window

Mask = npt.NDArray[np.uint8]

#: Differences below this are float rounding (a 16-bit level is 0.0039), 1/255.
IDENTICAL_255 = 2e-4
#: Alpha from which a pixel counts as opaque.
OPAQUE = 0.98
#: Of fewer opaque px than this the detail ratio says nothing.
MIN_INTERIOR_PX = 64
_STRIP_ROWS = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """Reference and round trip at comparison size, over one background, with their lumas; float32, 0..255.

    ``reference``, ``round_trip``: RGB (height, width, 3), of large pictures computed when they are read.
    ``weight``: how visible a pixel is, 0..1; ``interior``: 1 where both are opaque; ``None`` in opaque
    pictures. ``full_reference``, ``full_result``: the two at their own sizes.
    """

    reference: Rows
    round_trip: Rows
    weight: Float | None
    interior: Mask | None
    reference_y: Float
    round_trip_y: Float
    full_reference: Shown
    full_result: Shown

    @property
    def full_reference_y(self) -> Float:
        """The reference's luma at its own size, which is that of comparison unless the result is smaller."""
        compared = self.reference_y.shape == self.full_reference.shape
        return self.reference_y if compared else self.full_reference.luma()


def pairs_of(before: Reduced, after: Reduced, found: Findings) -> Iterator[Pair]:
    """A reduced reference and a reduced result over black, and where there is alpha then over white.

    The second pair takes the memory of the first.
    """
    with found.timed("round_trip"):
        weight = visible_weight(before, after)
        interior = None if weight is None else interior_of(before, after)
    yield _pair_of(before, after, weight, interior)
    if weight is not None:
        with found.timed("round_trip"):
            before, after = before.over_white(in_place=True), after.over_white(in_place=True)
        yield _pair_of(before, after, weight, interior)


def _pair_of(before: Reduced, after: Reduced, weight: Float | None, interior: Mask | None) -> Pair:
    lumas = (_luma_of(before.rgb), _luma_of(after.rgb))
    return Pair(before.rgb, after.rgb, weight, interior, *lumas, before.full, after.full)


def _luma_of(rgb: Rows) -> Float:
    plane = np.empty(rgb.shape[:2], np.float32)
    for rows in spans(0, plane.shape[0], _STRIP_ROWS):
        # As luma() does, three times as fast.
        cv2.cvtColor(np.asarray(rgb[rows], np.float32), cv2.COLOR_RGB2GRAY, plane[rows])
    return plane


def visible_weight(before: Reduced, after: Reduced) -> Float | None:
    """The larger of both alphas at comparison size, 0..1; ``None`` where both pictures are opaque."""
    if before.alpha is None and after.alpha is None:
        return None
    weight = np.zeros(before.rgb.shape[:2], np.float32)
    for alpha in (before.alpha, after.alpha):
        for rows in spans(0, weight.shape[0], _STRIP_ROWS):
            np.maximum(weight[rows], 1 if alpha is None else alpha[rows], out=weight[rows])
    return weight


def interior_of(before: Reduced, after: Reduced) -> Mask:
    """1 where both pictures are opaque for 2 px around, else 0, at comparison size.

    A cutout's border against the background is the strongest edge there is. How an enlargement softens
    it would drown the detail inside, which is what the detail ratio is about.
    """
    opaque = np.ones(before.rgb.shape[:2], np.uint8)
    for alpha in (before.alpha, after.alpha):
        if alpha is not None:
            for rows in spans(0, opaque.shape[0], _STRIP_ROWS):
                opaque[rows] &= (alpha[rows] > OPAQUE).astype(np.uint8)
    inside = cv2.erode(opaque, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(inside, np.uint8)


def _identical(a: Rows, b: Rows) -> bool:
    """Whether no value differs visibly; strip by strip, as most pictures differ within the first."""
    rows = spans(0, a.shape[0], _STRIP_ROWS)
    return all(float(cv2.norm(a[part], b[part], cv2.NORM_INF)) < IDENTICAL_255 for part in rows)


def measure(pair: Pair, found: Findings, steps: Iterable[str] | None = None) -> None:
    """All metrics of a pair, or those of some ``steps``, each step timed."""
    for step in MEASURES if steps is None else steps:
        with found.timed(step):
            MEASURES[step](pair, found)


def _measure_psnr(pair: Pair, found: Findings) -> None:
    identical = _identical(pair.reference, pair.round_trip)
    found.identical = found.identical and identical
    if not identical:
        found.add("psnr", psnr(pair.reference, pair.round_trip, pair.weight))
        found.add("psnr_y", psnr(pair.reference_y, pair.round_trip_y, pair.weight))


def _measure_colour(pair: Pair, found: Findings) -> None:
    pictures = (pair.reference, pair.round_trip, pair.weight)
    found.add("color_shift_255", colour_shift(*pictures), "nothing is visible")
    found.add("local_color_shift_255", local_colour_shift(*pictures), "nothing is visible")


def _measure_structure(pair: Pair, found: Findings) -> None:
    shift = subpixel_shift(pair.reference_y, pair.round_trip_y)
    length = None if shift is None else math.hypot(*shift)
    found.add("subpixel_shift_px", length, "the picture has no structure")
    if pair.interior is None or cv2.countNonZero(pair.interior) >= MIN_INTERIOR_PX:
        found.add("detail_ratio", detail_ratio(pair.reference_y, pair.round_trip_y, pair.interior))
    else:
        found.note("detail_ratio: too little is opaque")


def _measure_edges(pair: Pair, found: Findings) -> None:
    loss, boxes = picture_edge_loss(pair.reference, pair.round_trip)
    if loss is not None and loss >= (found.picture_loss or 0.0):
        found.picture_loss, found.boxes = loss, boxes


def _measure_blocking(pair: Pair, found: Findings) -> None:
    ratio = grid_ratio(pair.full_reference.levels, pair.full_result.levels)
    found.add("grid_ratio", ratio, "the result is smaller than 64 px")


def _measure_fine_detail(pair: Pair, found: Findings) -> None:
    source, result = pair.full_reference, pair.full_result
    if not is_enlarged(source.shape, result.shape):
        found.note("fine detail: the result is not larger than the source by 1.9 and more")
        return
    spread = spread_of(source.levels)
    fine = fine_detail(source.levels, spread, result.levels)
    found.add("grain_255", fine.grain_255, "the source is nowhere smooth")
    found.add("specks_ppm", fine.specks_ppm)
    found.add("scratch_px", fine.scratch_px)
    traces = jpeg_traces(result.levels, smooth_mask(spread))
    found.add("jpeg_traces", traces, "too little of the source is smooth, or it is enlarged by 8")
    found.add("resize_trace", resize_trace(source.levels, result.levels), "the source is smaller than 96 px")
    if MIN_SCALE <= result.shape[0] / source.shape[0] <= MAX_SCALE:
        texture = finest_texture(source.levels, result.levels)
        found.add("finest_texture", texture, "the source is soft, or all is flat or a hard edge")
    else:
        found.note("finest_texture: the result is not 2.9 to 6.1 times as large as the source")
    loss, places = detail_loss(pair.reference_y, pair.round_trip_y)
    found.add("detail_loss", loss)
    found.add("overshoot", overshoot(source.levels, result.levels), "the source has too few edges")
    size = pair.full_result.shape[::-1]
    change = structure_change(pair.reference_y, pair.round_trip_y, size, pair.interior)
    found.add("structure_change", change, "nothing is opaque")
    found.fine_boxes = tuple(dict.fromkeys((*found.fine_boxes, *fine.boxes, *places)))


def _measure_ssim(pair: Pair, found: Findings) -> None:
    if not fits_window(pair.reference_y.shape):
        found.note("ssim, ssim_y: the picture is smaller than the 11 px window")
    else:
        found.add("ssim", ssim(pair.reference, pair.round_trip, pair.weight), "nothing is visible")
        luma_ssim = ssim(pair.reference_y, pair.round_trip_y, pair.weight)
        found.add("ssim_y", luma_ssim, "nothing is visible")
    _measure_half_size(pair, found)


def _measure_half_size(pair: Pair, found: Findings) -> None:
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


#: Step, as ``timings_seconds`` names it -> function that measures a pair; a new metric adds its own here.
MEASURES: dict[str, Callable[[Pair, Findings], None]] = {
    "psnr": _measure_psnr,
    "ssim": _measure_ssim,
    "colour": _measure_colour,
    "structure": _measure_structure,
    "edges": _measure_edges,
    "blocking": _measure_blocking,
    "fine_detail": _measure_fine_detail,
}
