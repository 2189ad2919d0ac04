"""How far two masks of one picture agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from imgpipe.matting.matte import Alpha, CoarseMatte
from imgpipe.matting.refine import overlap_iou

#: Alphas farther apart than this differ.
_APART = 0.5
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Box:
    """Place in the picture, px."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """``iou``: of both masks cut at one half, 1 where both are empty. ``differing_share``: part of the
    picture where their alphas are more than one half apart; ``box``: around the largest such region."""

    iou: float
    differing_share: float
    box: Box | None

    def complaint(self, who: str, minimum: float) -> str:
        """Why the matte is not trusted, in words; empty where they agree well enough."""
        if self.iou >= minimum:
            return ""
        box, where = self.box, ""
        if box is not None:
            where = f"; they differ most in {box.width}x{box.height} px at x {box.x}, y {box.y}"
        return f"{who} overlap by IoU {self.iou:.2f}, at least {minimum:g} needed{where}"


def agreement_of(one: Alpha, other: Alpha, height: int, width: int) -> Agreement:
    """Compare two alphas, float32 0..1 of one shape, of a picture of ``height`` x ``width`` px."""
    differs = np.abs(one - other) > _APART
    count, _, stats, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8))
    box = None
    if count > 1:
        largest = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
        scale = np.array([width, height] * 2) / np.array([one.shape[1], one.shape[0]] * 2)
        x, y, columns, rows = (int(side) for side in np.maximum(np.round(largest[:4] * scale), (0, 0, 1, 1)))
        box = Box(min(x, width - 1), min(y, height - 1), columns, rows)
    return Agreement(overlap_iou(one, other), float(differs.mean()), box)


def judged(
    coarse: CoarseMatte, name: str, agreement: Agreement, distrust: str, facts: Mapping[str, Any] = _NONE
) -> CoarseMatte:
    """``coarse`` with the agreement in ``details[name]`` and metrics, and ``distrust`` beside its own."""
    metrics: Mapping[str, float] = {
        f"matte_{name}_iou": agreement.iou,
        f"matte_{name}_differing": agreement.differing_share,
    }
    return replace(
        coarse,
        distrust="; ".join(filter(None, (coarse.distrust, distrust))),
        metrics={**coarse.metrics, **metrics},
        details={**coarse.details, name: {**facts, **asdict(agreement)}},
    )
