"""The recipe from a backend's coarse alpha to a finished cutout: trimap, alpha, foreground."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image, Pixels
from imgpipe.matting.closed_form import solve_closed_form
from imgpipe.matting.coarse_to_fine import CoarseToFine, solve_coarse_to_fine
from imgpipe.matting.foreground import decontaminate
from imgpipe.matting.guide import guide_of, has_blocks
from imgpipe.matting.laplacian import EPSILON
from imgpipe.matting.matte import NO_SUBJECT, Alpha, CoarseMatte, Matte
from imgpipe.matting.source_alpha import absent_of, colour_of, visible_of, with_source_alpha
from imgpipe.matting.trimap import FOREGROUND, UNKNOWN, Mask, Trimap, make_trimap, scaled_erosion_px
from imgpipe.pixels.strips import spans
from imgpipe.records import Status
from imgpipe.settings import RembgSettings

if TYPE_CHECKING:
    from imgpipe.matting.vitmatte import VitMatte

#: Weight of a coarse alpha near 0 or 1 relative to the colours. Measured over 48 cases: from
#: 0.003 to 0.01 the errors differ by a tenth; without it the mean square error is 1.5 times as large.
PRIOR_WEIGHT = 5e-3

#: ``rembg.alpha_matting`` -> what the row says.
_REFINEMENTS = {"auto": "coarse-to-fine", "closed_form": "closed-form", "vitmatte": "vitmatte"}

#: Alpha nearer to 0 or 1 than this is set to it; in 8 bits it would round to it.
_SNAP = 0.5 / 255
_STRIP_ROWS = 128


@dataclass(frozen=True, slots=True, eq=False)
class _Refined:
    alpha: Alpha
    reasons: tuple[str, ...]
    details: dict[str, Any]


def finish(
    image: Image,
    coarse: CoarseMatte,
    settings: RembgSettings,
    seconds: dict[str, float],
    refiner: VitMatte | None = None,
) -> Matte:
    """The cutout of ``image`` from a backend's coarse alpha; ``refiner``: of ``alpha_matting: vitmatte``.

    ``seconds``: time of the backend's steps; ``refine`` and ``foreground`` are added. A coarse matte with a
    ``refusal`` becomes a ``REJECTED`` matte whose alpha is 0 everywhere.
    """
    if coarse.refusal:
        return _nothing(image, coarse, seconds)
    started = time.perf_counter()
    refined = _refine(image, coarse, settings, refiner)
    refined_at = time.perf_counter()
    cutout, alpha = assemble(image, refined.alpha)
    seconds = {**seconds, "refine": refined_at - started}
    seconds["foreground"] = time.perf_counter() - refined_at
    return Matte(
        image=cutout,
        alpha=alpha,
        status=Status.REJECTED if coarse.distrust else Status.OK,
        reasons=tuple(filter(None, (coarse.distrust, *coarse.reasons, *refined.reasons))),
        metrics=_metrics(alpha, coarse),
        details={"subject": "found", **coarse.details, **refined.details},
        seconds=seconds,
    )


def assemble(image: Image, matte_alpha: Alpha) -> tuple[Image, Alpha]:
    """The cutout and its alpha: ``matte_alpha``, float32 (height, width) 0..1, times the source's."""
    absent = absent_of(image)
    full_scale = image.max_value
    soft = (matte_alpha > 0) & (np.rint(matte_alpha * full_scale) < full_scale)
    if absent is not None:
        soft &= ~absent
    own = decontaminate(colour_of(image), matte_alpha, soft, absent=absent)
    alpha = with_source_alpha(matte_alpha, image)
    channels = 1 if image.colour.shape[2] == 1 else 3
    pixels = np.empty((image.height, image.width, channels + 1), image.pixels.dtype)
    for rows in spans(0, image.height, _STRIP_ROWS):
        levels = np.rint(alpha[rows].astype(np.float64) * full_scale).astype(pixels.dtype)
        pixels[rows, :, :-1] = own[rows, :, :channels]
        pixels[rows, :, -1] = levels
        pixels[rows][levels == 0] = 0
    return replace(image, pixels=cast(Pixels, pixels)), alpha


def overlap_iou(one: Alpha, other: Alpha) -> float:
    """Intersection over union of two alphas cut at one half; 1 where both are empty."""
    first, second = one >= 0.5, other >= 0.5
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0


def _refine(image: Image, coarse: CoarseMatte, settings: RembgSettings, refiner: VitMatte | None) -> _Refined:
    if coarse.final or settings.alpha_matting == "off":
        why = "the source's own alpha" if coarse.final else "alpha_matting is off"
        return _Refined(_snapped(coarse.alpha), (), {"refinement": "none", "refinement_note": why})
    height, width = coarse.alpha.shape
    trimap = make_trimap(
        coarse.alpha,
        foreground_threshold=settings.foreground_threshold,
        background_threshold=settings.background_threshold,
        erosion_px=scaled_erosion_px(settings.erode_size, height, width),
    )
    unknown_share = float(np.mean(trimap == UNKNOWN))
    facts: dict[str, Any] = {"unknown_share": unknown_share}
    refusal = _why_not(trimap == FOREGROUND, trimap.shape, settings)
    if refusal:
        facts |= {"refinement": "none", "refinement_note": refusal}
        return _Refined(_snapped(coarse.alpha), (refusal,), facts)
    if settings.alpha_matting == "vitmatte":
        if refiner is None:
            raise ConfigError("rembg.alpha_matting=vitmatte: expected a refiner, got none; see build_matter")
        facts |= {"refinement": _REFINEMENTS["vitmatte"], "refiner": refiner.facts}
        alpha = refiner.alpha(visible_of(image), trimap)
        return _guarded(alpha, coarse.alpha, facts, 0, settings.guard_iou)
    alpha, found, unsolved = _solve(settings.alpha_matting, image, coarse.alpha, trimap)
    return _guarded(alpha, coarse.alpha, facts | found, unsolved, settings.guard_iou)


def _solve(method: str, image: Image, coarse: Alpha, trimap: Trimap) -> tuple[Alpha, dict[str, Any], int]:
    """Alpha by ``method`` of the settings, facts, and how many pixels have no solution."""
    colour = visible_of(image)
    guide, noise = guide_of(colour, trimap)
    blocks = has_blocks(colour)
    epsilon = None if blocks else EPSILON
    if method == "closed_form":
        finest = solve_closed_form(guide, trimap, prior=coarse, prior_weight=PRIOR_WEIGHT, epsilon=epsilon)
        solved = CoarseToFine(finest, finest.unsolved, (int(np.count_nonzero(trimap == UNKNOWN)),))
    else:
        solved = solve_coarse_to_fine(guide, trimap, prior=coarse, prior_weight=PRIOR_WEIGHT, epsilon=epsilon)
    facts = {
        "refinement": _REFINEMENTS[method],
        "noise_255": noise,
        "compression_blocks": blocks,
        "solved_px": list(solved.solved_px),
        "bands": solved.finest.bands,
        "bands_one_sided": solved.finest.one_sided,
        "iterations": solved.finest.iterations,
    }
    return solved.finest.alpha, facts, solved.unsolved


def _guarded(alpha: Alpha, coarse: Alpha, facts: dict[str, Any], unsolved: int, guard_iou: float) -> _Refined:
    iou = overlap_iou(alpha, coarse)
    facts |= {"unsolved_px": unsolved, "iou_with_coarse": iou}
    if iou < guard_iou:
        facts["refinement"] = "guarded"
        reason = (
            f"alpha refinement not used: it overlaps the mask it came from by IoU {iou:.2f}, "
            f"at least {guard_iou:.2f} is needed; the mask's own alpha is kept"
        )
        return _Refined(_snapped(coarse), (reason,), facts)
    reasons: tuple[str, ...] = ()
    if unsolved:
        reasons = (f"alpha refinement left {unsolved} px unsolved; they keep the alpha that they had",)
    return _Refined(_snapped(alpha), reasons, facts)


def _why_not(foreground: Mask, shape: tuple[int, ...], settings: RembgSettings) -> str:
    if min(shape) < 3:
        return f"alpha refinement not possible: it needs 3x3 px, the picture is {shape[1]}x{shape[0]} px"
    if not foreground.any():
        return (
            "alpha refinement not possible: nothing in the mask is certainly subject (above "
            f"foreground_threshold {settings.foreground_threshold}); the mask's own alpha is kept"
        )
    return ""


def _snapped(alpha: Alpha) -> Alpha:
    result = np.clip(alpha, 0.0, 1.0).astype(np.float32)
    result[result < _SNAP] = 0.0
    result[result > 1.0 - _SNAP] = 1.0
    return result


def _nothing(image: Image, coarse: CoarseMatte, seconds: dict[str, float]) -> Matte:
    channels = 2 if image.colour.shape[2] == 1 else 4
    pixels = np.zeros((image.height, image.width, channels), image.pixels.dtype)
    alpha = np.zeros((image.height, image.width), np.float32)
    return Matte(
        image=replace(image, pixels=pixels),
        alpha=alpha,
        status=Status.REJECTED,
        reasons=(NO_SUBJECT, coarse.refusal, *coarse.reasons),
        metrics=_metrics(alpha, coarse),
        details={"subject": "none", **coarse.details, "refinement": "none"},
        seconds=seconds,
    )


def _metrics(alpha: Alpha, coarse: CoarseMatte) -> dict[str, float]:
    return {
        "subject_found": 0.0 if coarse.refusal else 1.0,
        "subject_evidence": float(coarse.evidence),
        "confidence": float(coarse.confidence),
        "foreground_share": float(alpha.mean(dtype=np.float64)),
        "soft_share": float(np.mean((alpha > 0) & (alpha < 1))),
        "opaque_share": float(np.mean(alpha >= 1)),
        **coarse.metrics,
    }
