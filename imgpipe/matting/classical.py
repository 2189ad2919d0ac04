"""Matting without weights: pixels with the colours of the border are background.

Border model in Lab -> distance of every pixel to it -> GrabCut (Rother et al. 2004) at reduced size, seeded
from that distance, where the distance alone does not decide -> connected components and holes -> the same
refinement as for networks. It reports a confidence, from how well the border is explained and how clearly
the subject differs from it, and refuses pictures whose border is not background.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe.matting.border import Border, Distance, Lab, Levels, fit_border, to_lab
from imgpipe.matting.confidence import WHY_UNSURE, confidence_parts
from imgpipe.matting.letterbox import resize
from imgpipe.matting.matte import Alpha, CoarseMatte, Matte
from imgpipe.matting.refine import finish
from imgpipe.matting.source_alpha import visible_of
from imgpipe.matting.trimap import Mask
from imgpipe.records import ModelUse
from imgpipe.settings import RembgSettings

if TYPE_CHECKING:
    from imgpipe.matting.vitmatte import VitMatte

#: GrabCut works on a picture whose longer side is at most this, px.
WORKING_SIDE_PX = 512

#: A source whose own alpha is below half of its maximum on this share of the picture is used as mask.
OWN_ALPHA_SHARE = 0.01

#: Parts of the picture's area: smaller subjects are noise, larger ones leave no background.
SUBJECT_SHARE_MINIMUM = 5e-4

#: Shares of the largest component's area from which a part is a subject of its own, and below which it is
#: noise; and the distance up to which smaller parts belong to a subject, as a share of the longer side.
_LARGE_PART, _SPECK, _CLOSE = 0.25, 1e-4, 0.02

#: Shares of the subject's area between which an enclosed area may show the background.
_SMALL_HOLE, _LARGE_HOLE = 0.002, 0.12

#: From this alpha on a pixel is wholly subject; lower values inside of the subject are holes or uncertain.
_FULL = 0.95

_GRABCUT_ROUNDS = 4
_SEED = 20040801  # GrabCut starts its colour models by k-means, which draws random numbers


class ClassicalMatter:
    """The backend without weights; deterministic, safe to call from several threads."""

    def __init__(self, settings: RembgSettings, model: ModelUse, refiner: VitMatte | None = None) -> None:
        self.model = model
        self._refiner = refiner
        self._settings = settings

    def matte(self, image: Image) -> Matte:
        """Cut out what differs from the border of ``image``."""
        started = time.perf_counter()
        coarse = find_subject(image, self._settings.confidence_minimum)
        return finish(
            image, coarse, self._settings, {"segment": time.perf_counter() - started}, self._refiner
        )


def find_subject(image: Image, confidence_minimum: float = 0.0) -> CoarseMatte:
    """Coarse alpha of what is not background, with a confidence; ``distrust`` is set where that is below
    ``confidence_minimum``, ``refusal`` where there is no subject."""
    own = _own_alpha(image)
    if own is not None:
        return own
    lab = to_lab(visible_of(image))
    small = _reduced(lab)
    border = fit_border(small)
    levels = Levels.of(border)
    distance = border.distance(lab)
    cut = _grabcut(small, border.distance(small), levels)
    alpha = _combine(distance, cut, levels)
    alpha = _keep_parts(_fill_holes(alpha, border.distance(lab, with_extra=False), levels))
    parts = confidence_parts(alpha >= 0.5, lab, distance, cut, border, levels)
    return _judged(alpha, border, parts, confidence_minimum)


def _own_alpha(image: Image) -> CoarseMatte | None:
    """The source's alpha as the mask, where enough of the source is transparent."""
    if image.alpha is None:
        return None
    coverage = image.alpha.astype(np.float32) / np.float32(image.max_value)
    evidence = float(coverage.max())
    if evidence > 0.0 and float(np.mean(coverage < 0.5 * evidence)) < OWN_ALPHA_SHARE:
        return None
    refusal = "the source is fully transparent" if evidence == 0.0 else ""
    # The source's alpha is multiplied in at the end: the matte adds nothing to it.
    return CoarseMatte(
        alpha=np.ones_like(coverage),
        evidence=evidence,
        confidence=0.0 if refusal else 1.0,
        refusal=refusal,
        final=True,
        details={"mask_from": "source alpha"},
    )


def _reduced(lab: Lab) -> Lab:
    height, width = lab.shape[:2]
    scale = WORKING_SIDE_PX / max(height, width)
    if scale >= 1.0:
        return lab
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)


def _grabcut(lab: Lab, distance: Distance, levels: Levels) -> Alpha | None:
    """GrabCut's mask (0 or 1) at the working size; ``None`` where there is too little of either side."""
    outside = _touching_border(distance < levels.high)
    seeds = np.where(distance > levels.high, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    seeds[outside & (distance < levels.low)] = cv2.GC_BGD
    if min(np.count_nonzero(seeds == cv2.GC_PR_FGD), np.count_nonzero(seeds == cv2.GC_BGD)) < 32:
        return None
    picture = np.clip(lab * (2.55, 1.0, 1.0) + (0.0, 128.0, 128.0), 0, 255).astype(np.uint8)
    rectangle = (0, 0, 1, 1)  # ignored with GC_INIT_WITH_MASK
    cv2.setRNGSeed(_SEED)  # OpenCV has one generator per thread, so other threads do not change it
    cv2.grabCut(
        picture,
        seeds,
        rectangle,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        _GRABCUT_ROUNDS,
        cv2.GC_INIT_WITH_MASK,
    )
    return np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


def _alpha_from_distance(distance: Distance, levels: Levels) -> Alpha:
    """1 from ``high`` on, 0 up to ``low``, except beside the background: there a pixel's distance relative
    to the largest one around it is its coverage, since ``C - B = alpha (F - B)``."""
    alpha = np.clip((distance - levels.low) / (levels.high - levels.low), 0.0, 1.0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    beside = cv2.dilate((distance < levels.low).astype(np.uint8), disc) > 0
    coverage = distance / np.maximum(cv2.dilate(distance, disc), levels.high)
    return np.asarray(np.where(beside, np.minimum(alpha, coverage), alpha), np.float32)


def _combine(distance: Distance, cut: Alpha | None, levels: Levels) -> Alpha:
    alpha = _alpha_from_distance(distance, levels)
    if cut is None or levels.decisive == 1.0:
        return np.asarray(alpha, np.float32)
    smooth = resize(cut, *distance.shape)
    return np.asarray(levels.decisive * alpha + (1.0 - levels.decisive) * smooth, np.float32)


def _keep_parts(alpha: Alpha) -> Alpha:
    """``alpha`` without detached parts: the largest component is kept, with others of at least a quarter of
    its area and with smaller ones close to those."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.1).astype(np.uint8))
    if count == 1:
        return alpha
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0.0
    large = areas >= _LARGE_PART * areas.max()
    away = cv2.distanceTransform((~large[labels]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    nearest = np.full(count, np.inf, np.float32)
    np.minimum.at(nearest, np.asarray(labels, np.int32).reshape(-1), away.reshape(-1))
    near = (nearest <= _CLOSE * max(alpha.shape)) & (areas >= _SPECK * areas.max())
    near[0] = False
    return np.where((large | near)[labels], alpha, np.float32(0))


def _fill_holes(alpha: Alpha, surface_distance: Distance, levels: Levels) -> Alpha:
    """``alpha`` with those enclosed areas filled that are more likely subject than background.

    An area that touches one side of the picture between two parts of the subject also counts as enclosed,
    such as a garment at the lower side of a portrait. Areas inside that are neither clearly subject nor
    clearly background are filled as well.
    """
    count, found, stats, _ = cv2.connectedComponentsWithStats(
        (alpha < _FULL).astype(np.uint8), connectivity=4
    )
    labels = np.asarray(found, np.int32)
    sides = _open_sides(labels, count)
    alpha = alpha.copy()
    subject = max(float(np.count_nonzero(alpha >= 0.5)), 1.0)
    for hole in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[hole])
        if sides[hole] > 1:
            continue
        window = slice(max(0, y - 2), y + height + 2), slice(max(0, x - 2), x + width + 2)
        inside = labels[window] == hole
        off = float(np.median(surface_distance[window][inside]))
        if sides[hole] and (off <= levels.low or not _flanked(labels, hole)):
            continue
        if _shows_background(area / subject, off, levels):
            continue
        filled = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        alpha[window][filled] = 1.0
    return alpha


def _open_sides(labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """How many sides of the picture each component touches."""
    touched = np.zeros(count, np.int64)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touched[np.unique(side)] += 1
    return touched


def _flanked(labels: npt.NDArray[np.int32], hole: int) -> bool:
    """Whether a component that touches one side of the picture is followed by subject there on both ends."""
    side = next(s for s in (labels[0], labels[-1], labels[:, 0], labels[:, -1]) if (s == hole).any())
    where = np.flatnonzero(side == hole)
    before, after = side[: where[0]], side[where[-1] + 1 :]
    return bool((before == 0).any() and (after == 0).any())


def _shows_background(share: float, off: float, levels: Levels) -> bool:
    """Whether an enclosed area, ``share`` of the subject's and ``off`` from the background's colour there, is
    background seen through the subject.

    Small areas are eyes and highlights, large ones clothes, in between lie the gaps between arm and body; an
    area larger than what encloses it is the picture inside a frame.
    """
    if off > levels.low:
        return False
    return _SMALL_HOLE <= share <= _LARGE_HOLE or share > 1.0


def _judged(alpha: Alpha, border: Border, parts: dict[str, float], confidence_minimum: float) -> CoarseMatte:
    share = float(np.mean(alpha >= 0.5))
    confidence = float(np.prod(list(parts.values())))
    refusal = distrust = ""
    if share < SUBJECT_SHARE_MINIMUM:
        refusal = (
            f"{share:.2%} of the picture differs from its border's colours, at least "
            f"{SUBJECT_SHARE_MINIMUM:.2%} needed"
        )
    elif confidence < confidence_minimum:
        weakest = min(parts, key=lambda name: parts[name])
        distrust = (
            f"matte not sure (confidence {confidence:.2f}, at least {confidence_minimum:g} needed): "
            f"{WHY_UNSURE[weakest]}; use a network"
        )
    return CoarseMatte(
        alpha=alpha,
        evidence=float(alpha.max()),
        confidence=0.0 if refusal else confidence,
        refusal=refusal,
        distrust=distrust,
        details={
            "mask_from": "border colours",
            "border_noise": border.noise,
            "border_explained": border.explained,
            "border_colours": 1 + len(border.extra),
            "confidence_parts": parts,
        },
    )


def _touching_border(mask: Mask) -> npt.NDArray[np.bool_]:
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, np.unique(edge[edge > 0])))
