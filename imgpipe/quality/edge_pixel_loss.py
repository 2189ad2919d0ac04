"""Edge pixel loss: strong edges of the source that the result no longer has.

Two places to lose them, one score each, both in 0..1 (share of the source's strong edge pixels):

picture
    An edge pixel of the source is lost where no pixel of the round trip within 2 px has at least half
    its gradient: an erased line, a patch gone blank, a heavy blur.
matte
    A cut that runs inside the subject leaves the subject's own outline outside. Strong source edges are
    counted 3..6 px outside each object's mask and 2 px off anything above alpha 0.1, less what the
    background's own density (8..16 px outside) explains, as a share of all strong edges from 6 px inside to
    6 px outside the border. A border that is merely tight, by a pixel, loses nothing. Per object; the worst
    object is the score.

Gradients are Sobel's, scaled to 1/255 per px, the largest of the three channels.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.round_trip import Float, Plane, largest_channel
from imgpipe.pixels.row_bands import Rows
from imgpipe.quality.blocks import blocks
from imgpipe.quality.report import EdgeBox

Bool = npt.NDArray[np.bool_]

STRONG_GRADIENT = 16.0
TOLERANCE_PX = 2
KEPT_SHARE = 0.5
INNER_PX, OUTER_PX = 3, 6
#: No edge is lost this near to anything of more than this alpha.
_NEAR_PX, _FAINT = 2, 0.1
BACKGROUND_PX = (8, 16)
#: With fewer strong edge pixels than this the loss is not judged.
MIN_EDGE_PX = 64
MIN_OBJECT_PX = 64
_MIN_LOST_PX = 12


def gradient(rgb: Rows) -> Float:
    """Largest channel's Sobel magnitude, (height, width), in 1/255 per px, of (height, width, 3)."""
    largest = np.empty(rgb.shape[:2], np.float32)
    for block in blocks(rgb.shape, 1):
        np.sqrt(_energy(rgb[block.seen])[block.inner], out=largest[block.own])
    return largest


def _energy(rgb: Plane) -> Float:
    """Squared Sobel magnitude, largest channel; what lies outside repeats the border."""
    gx = cv2.Sobel(rgb, cv2.CV_32F, 1, 0, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(rgb, cv2.CV_32F, 0, 1, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    energy = cv2.multiply(gx, gx, gx)
    cv2.accumulateSquare(gy, energy)
    return largest_channel(energy)


def picture_edge_loss(
    reference: Rows, round_trip: Rows, *, limit: int = 20
) -> tuple[float | None, tuple[EdgeBox, ...]]:
    """(share of lost strong edge pixels, where) for two (height, width, 3) float32 pictures, 0..255.

    The share is ``None`` below 64 strong edge pixels.
    """
    lost = np.zeros(reference.shape[:2], np.bool_)
    count = lost_count = 0
    tolerance = np.ones((2 * TOLERANCE_PX + 1, 2 * TOLERANCE_PX + 1), np.uint8)
    for block in blocks(reference.shape, TOLERANCE_PX + 1):
        before = _energy(reference[block.seen])[block.inner]
        strong = before > STRONG_GRADIENT**2
        if not (here := int(np.count_nonzero(strong))):
            continue
        count += here
        nearby = cv2.dilate(_energy(round_trip[block.seen]), tolerance)[block.inner]
        before *= np.float32(KEPT_SHARE**2)
        strong &= nearby < before
        if gone := int(np.count_nonzero(strong)):
            lost[block.own] = strong
            lost_count += gone
    if count < MIN_EDGE_PX:
        return None, ()
    return lost_count / count, _lost_boxes(lost, limit) if lost_count else ()


def matte_edge_loss(
    source: Rows, alpha: Float, *, box_above: float = 0.035, limit: int = 20
) -> tuple[float | None, tuple[EdgeBox, ...]]:
    """(worst object's share, objects above ``box_above``) of a matte.

    ``source`` (height, width, 3) float32 on 0..255 before matting; ``alpha`` (height, width) 0..1 after.
    ``None`` where there is no object with enough edges.
    """
    mask = (alpha >= 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= MIN_OBJECT_PX]
    if not large or mask.all():
        return None, ()
    strong = gradient(source) > STRONG_GRADIENT
    kept = np.zeros(count, np.uint8)
    kept[large] = 1
    mask = kept[labels]
    owner, outside = _nearest_object(mask, np.asarray(labels, np.int32))
    del labels  # Of large pictures these planes are what takes the memory.
    inside = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)
    shares = _shares(strong, alpha, owner, outside, inside)
    scores = {n: float(shares[n]) for n in large if np.isfinite(shares[n])}
    boxes = [_box(stats[n], "matte", score) for n, score in scores.items() if score > box_above]
    boxes.sort(key=lambda box: -box.value)
    return max(scores.values(), default=None), tuple(boxes[:limit])


def _shares(
    strong: Bool, alpha: Float, owner: npt.NDArray[np.int32], outside: Float, inside: Float
) -> npt.NDArray[np.float64]:
    """Lost share per object label; NaN where too few edges lie at its border."""

    def count(zone: Bool) -> npt.NDArray[np.int64]:
        return np.bincount(owner[zone], minlength=int(owner.max()) + 1)

    ring = (outside > INNER_PX) & (outside <= OUTER_PX)
    total = count(strong & (outside <= OUTER_PX) & (inside <= OUTER_PX))
    expected = _background_density(strong, outside) * count(ring)
    near = cv2.dilate(alpha, np.ones((2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1), np.uint8))
    lost = np.maximum(count(strong & ring & (near < _FAINT)) - expected, 0.0)
    return np.where(total >= MIN_EDGE_PX, lost / np.maximum(total, 1), np.nan)


def _nearest_object(
    mask: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], Float]:
    """(label of the nearest object, distance to it in px) for every pixel."""
    distance, nearest = cv2.distanceTransformWithLabels(
        1 - mask, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_pixel = np.zeros(int(nearest.max()) + 1, np.int32)
    inside = mask > 0
    by_pixel[nearest[inside]] = labels[inside]
    return by_pixel[nearest], np.asarray(distance, np.float32)


def _background_density(strong: Bool, outside: Float) -> float:
    zone = (outside > BACKGROUND_PX[0]) & (outside <= BACKGROUND_PX[1])
    area = int(zone.sum())
    return float((strong & zone).sum()) / area if area else 0.0


def _box(stats: npt.NDArray[np.generic], kind: str, value: float) -> EdgeBox:
    left, top, width, height = (int(side) for side in stats[:4])
    return EdgeBox(left, top, width, height, kind, value)


def _lost_boxes(lost: Bool, limit: int) -> tuple[EdgeBox, ...]:
    joined = cv2.dilate(lost.view(np.uint8), np.ones((9, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    amounts = np.bincount(labels[lost], minlength=count)
    largest = sorted(range(1, count), key=lambda n: -int(amounts[n]))[:limit]
    return tuple(_box(stats[n], "picture", float(amounts[n])) for n in largest if amounts[n] >= _MIN_LOST_PX)
