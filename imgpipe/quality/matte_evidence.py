"""What a matte and the picture it was cut from say about each other, without ground truth.

A pixel's colour is alpha F + (1 - alpha) B. So where alpha is partial and smooth, colours change little
beyond what the background behind does; and a change of alpha between unlike colours shows in the picture.

hollow            share of the subject's strong edges that lie in see-through parts and exceed what alpha's
                  own change and the background behind explain: bodies made transparent, feathered borders.
halo              share of the border (alpha 0.3) whose inner rim has the colour of what is outside.
unfollowed        area, as a share of the subject's, where alpha changes slowly and the colours do not follow.
faint_frame       share of the picture's frame with a level, faint alpha: haze over everything.
frame_background  the background's share of the frame over its share of the picture: below 1 it lies inside.
detail            density of strong edges in the subject over the background's, where the subject reaches
                  a quarter of the frame.
leftover          largest piece apart from the subject that has the background's colours, over the subject.
lost              largest closed gap that has the subject's colours, over the subject.
regained          share of the picture where the matte is more opaque than the source was.

The border's evidence is :mod:`imgpipe.quality.matte_border`'s.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from imgpipe.images.image import Image
from imgpipe.pixels.round_trip import Float
from imgpipe.quality.matte_border import border_evidence
from imgpipe.quality.matte_view import (
    ABSENT,
    OPAQUE,
    PRESENT,
    STRONG,
    Mask,
    MatteView,
    grown,
    largest,
    mean_around,
    shrunk,
    slopes,
    split,
    view_of,
)
from imgpipe.quality.report import EdgeBox

Evidence = tuple[dict[str, float], tuple[EdgeBox, ...]]

#: With fewer strong edge pixels than this ``hollow`` is not judged.
_MIN_EDGE_PX = 64
_MIN_PIECE_PX = 64
#: Smaller shares of the picture, and of its edges, say nothing.
_SHOWN = 0.02
#: A silhouette has no edges either, and reaches less of the frame than the rest of this.
_WIDE_FRAME = 0.75
#: Where less of the picture than this is background, as behind a glow, what is as faint as this shows it too.
_SCARCE, _FAINT = 0.15, 0.25
#: Share that every colour has at least; log-likelihood ratio from which a piece is the background's, and from
#: whose negative on a gap is the subject's.
_UNKNOWN, _LIKELY = 1e-4, 0.5
#: Of 1: alpha that exceeds the source's own by less is rounding.
_ROUNDING = 4 / 255


def matte_evidence(source: Image, cutout: Image) -> Evidence:
    """(name, as this module and matte_border list them -> value; where it is worst, px of the source).

    ``source``: the picture before matting; ``cutout``: with alpha, of the same size. What cannot be judged is
    left out, as is ``regained`` for a source without alpha.
    """
    view = view_of(source, cutout)
    facts, boxes = border_evidence(view)
    for part in (_hollow, _halo, _unfollowed, _shape, _lost):
        more, where = part(view)
        facts |= more
        boxes += where
    if view.own_alpha is not None:
        facts["regained"] = float(np.mean(view.alpha > view.own_alpha + _ROUNDING))
    return facts, boxes


def _hollow(view: MatteView) -> Evidence:
    alpha, gradient = view.alpha, view.gradient
    x, y = slopes(alpha)
    background = alpha < ABSENT
    if background.mean() < _SCARCE:
        background = alpha < _FAINT
    allowed = STRONG + 255 * grown(np.hypot(x, y), 2)
    allowed += (1 - alpha) * _contrast_behind(view, background)
    near_opaque = grown((alpha > OPAQUE).astype(np.float32), 3) > 0
    unexplained = (gradient > allowed) & (alpha >= PRESENT) & (alpha <= OPAQUE) & ~near_opaque
    strong = int(np.count_nonzero((gradient > STRONG) & (alpha > PRESENT)))
    if strong < _MIN_EDGE_PX:
        return {}, ()
    share = float(np.count_nonzero(unexplained)) / strong
    return {"hollow": share}, view.box(_densest(view, unexplained), "hollow", share)


def _contrast_behind(view: MatteView, background: Mask) -> Float:
    """The strongest edge of the background near each pixel; far from it what 2% of its pixels exceed."""
    if not background.any():
        return np.zeros_like(view.alpha)
    usual, most = np.percentile(view.gradient[background], [98, 99.5])
    window = view.share_of_side(16)
    near = np.minimum(grown(view.gradient * background, window // 2), np.float32(most))
    return np.where(mean_around(background, window) > 0.02, near, np.float32(usual)).astype(np.float32)


def _densest(view: MatteView, where: Mask) -> Mask:
    """The largest cluster of single pixels."""
    if not where.any():
        return where
    joined = cv2.dilate(where.view(np.uint8), np.ones((9, 9), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _halo(view: MatteView) -> Evidence:
    """The rim 1..2.5 px inside against the colours 2..6 px outside; 2.5..14 px inside must differ."""
    inside = view.alpha > 0.3
    depth, distance = (
        np.asarray(cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)) for mask in (inside, ~inside)
    )
    ring = ((distance >= 2) & (distance <= 6) & (view.alpha < 0.1)).astype(np.float32)
    seen = mean_around(ring, 17)
    near = np.maximum(seen, 1e-4)
    apart = largest(np.abs(plane - mean_around(plane * ring, 17) / near) for plane in view.channels)
    rim = inside & (depth >= 1) & (depth <= 2.5) & (seen >= 0.02)
    if np.count_nonzero(rim) < _MIN_EDGE_PX:
        return {}, ()
    deeper = np.where((depth > 2.5) & (depth < 14) & (seen >= 0.02), apart, np.float32(0))
    wrong = rim & (apart < 10) & (grown(deeper, 12) > 30)
    share = float(np.count_nonzero(wrong)) / float(np.count_nonzero(rim))
    return {"halo": share}, view.box(_densest(view, wrong), "halo", share)


def _unfollowed(view: MatteView) -> Evidence:
    """Where alpha changes slowly, the colours' change along alpha's is fitted over a window; it is F - B."""
    alpha = np.asarray(cv2.GaussianBlur(view.alpha, (0, 0), 2), np.float32)
    ax, ay = slopes(alpha)
    smooth = split(np.asarray(cv2.GaussianBlur(view.colour, (0, 0), 2), np.float32))
    steep = ax * ax + ay * ay
    slow = (view.alpha > 0.03) & (view.alpha < 0.97) & (steep < 0.06**2) & (steep > (0.5 / view.side) ** 2)
    window = view.share_of_side(20)
    used = slow.astype(np.float32)
    fitted = largest(
        np.abs(mean_around((cx * ax + cy * ay) * used, window)) for cx, cy in map(slopes, smooth)
    )
    contrast = fitted / np.maximum(mean_around(steep * used, window), 1e-12)
    wrong = slow & (contrast < 20)
    share = float(np.count_nonzero(wrong)) / max(1, int(np.count_nonzero(view.alpha > 0.03)))
    level = (view.alpha > 0.03) & (view.alpha < 0.5) & (steep < (0.2 / view.side) ** 2)
    facts = {"unfollowed": share, "faint_frame": float(_frame(level).mean())}
    return facts, view.box(_densest(view, wrong), "unfollowed", share)


def _frame(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _shape(view: MatteView) -> Evidence:
    behind = view.alpha < 0.5
    share = float(behind.mean())
    facts = {} if share < _SHOWN else {"frame_background": float(_frame(behind).mean()) / share}
    if _frame(behind).mean() <= _WIDE_FRAME and (ratio := _detail(view, behind)) is not None:
        facts["detail"] = ratio
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (view.alpha >= 0.1).view(np.uint8), connectivity=8
    )
    facts["leftover"] = 0.0
    if count <= 2:
        return facts, ()
    areas = stats[:, cv2.CC_STAT_AREA]
    main = 1 + int(np.argmax(areas[1:]))
    like_background = _likeness(view, labels == main, view.alpha < ABSENT)
    for piece in range(1, count):
        share = float(areas[piece] / areas[main])
        if piece == main or areas[piece] < _MIN_PIECE_PX or share <= facts["leftover"]:
            continue
        if like_background[labels == piece].mean() > _LIKELY:
            facts["leftover"], worst = min(share, 1.0), piece
    if not facts["leftover"]:
        return facts, ()
    return facts, view.box(np.asarray(labels == worst), "leftover", facts["leftover"])


def _detail(view: MatteView, behind: Mask) -> float | None:
    """Density of strong edges in the subject over the background's; ``None`` where that has hardly any."""
    inner, outer = (shrunk(mask.astype(np.float32), 4) > 0 for mask in (~behind, behind))
    if min(inner.mean(), outer.mean()) < _SHOWN:
        return None
    strong = view.gradient > STRONG
    outside = float(strong[outer].mean())
    return float(strong[inner].mean()) / outside if outside >= _SHOWN else None


def _lost(view: MatteView) -> Evidence:
    """Of the gaps in the subject that do not reach the picture's sides; the background is the rest."""
    absent = view.alpha < 0.1
    _, labels, stats, _ = cv2.connectedComponentsWithStats(absent.view(np.uint8), connectivity=4)
    reaching = np.unique(_frame(np.asarray(labels)))
    background = absent & np.isin(labels, reaching)
    areas = stats[:, cv2.CC_STAT_AREA]
    gaps = np.setdiff1d(np.flatnonzero(areas >= _MIN_PIECE_PX), [0, *reaching])
    facts = {"lost": 0.0}
    subject = view.alpha >= 0.5
    if not gaps.size or min(map(np.count_nonzero, (background, subject))) < _MIN_EDGE_PX:
        return facts, ()
    like_background = _likeness(view, subject, background)
    inner = shrunk(absent.astype(np.float32), 2) > 0
    for gap in gaps:
        share = float(areas[gap] / np.count_nonzero(subject))
        within = inner & (labels == gap)
        if share > facts["lost"] and within.any() and like_background[within].mean() < -_LIKELY:
            facts["lost"], worst = min(share, 1.0), gap
    return facts, view.box(np.asarray(labels == worst), "lost", facts["lost"]) if facts["lost"] else ()


def _likeness(view: MatteView, subject: Mask, background: Mask) -> Float:
    """log(p(colour | background) / p(colour | subject)) per pixel, from histograms of 8 x 8 x 8 colours."""
    eighth = np.clip(view.colour[..., :3], 0, 255).astype(np.int64) // 32
    code = (eighth[..., 0] * 8 + eighth[..., 1]) * 8 + eighth[..., 2]
    away = shrunk(background.astype(np.float32), 3) > 0
    own = shrunk(subject.astype(np.float32), 2) > 0
    ratio = np.log(_histogram(code[away]) / _histogram(code[own]))
    return np.asarray(ratio[code], np.float32)


def _histogram(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Shares of the 512 colours, blurred over neighbours; what is nowhere counts the same everywhere."""
    counts = np.bincount(codes, minlength=512).reshape(8, 8, 8).astype(np.float64)
    for axis in range(3):
        counts = convolve1d(counts, [0.25, 0.5, 0.25], axis, mode="nearest")
    return np.asarray(counts.ravel() / max(1, codes.size) + _UNKNOWN)
