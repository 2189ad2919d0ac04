"""The backend without weights on the sample drawings: how good its mattes are, and whether it knows."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from imgpipe.matting.build import build_matter
from imgpipe.matting.refine import overlap_iou
from imgpipe.records import Status
from imgpipe.settings import RembgSettings
from training.samples.drawings import Drawing, draw_samples

#: A matte that overlaps the truth by this is good; one below the second must not be accepted.
GOOD_IOU, BAD_IOU = 0.9, 0.85

TARGETS = {"flat": 0.97, "gradient": 0.92}
KINDS = ("flat", "gradient", "busy")


def measure(seeds: int, quick: bool = False) -> dict[str, Any]:
    """Per kind of background and per drawing (``quick``: one a kind): IoU, and how the verdicts fit."""
    from pathlib import Path

    matter = build_matter(RembgSettings(model="classical"), model_dir=Path())
    rows = [
        _row(drawing, seed, matter.matte(drawing.image))
        for seed in range(seeds)
        for drawing in _drawings(seed, quick)
    ]
    print(f"\nclassical backend, {len(rows)} drawings of {seeds} seeds (good: IoU of at least {GOOD_IOU})")
    head = ("drawings", "mean IoU", "worst", "accepted", "good", "good refused", "bad accepted", "below 0.85")
    print(f"    {'':<24}" + "".join(f"{name:>13}" for name in head))
    kinds = {kind: _summary([row for row in rows if row["background"] == kind]) for kind in KINDS}
    names = sorted({row["drawing"] for row in rows})
    drawings = {name: _summary([row for row in rows if row["drawing"] == name]) for name in names}
    for name, summary in {**kinds, **drawings}.items():
        _print(name, summary)
    met = all(kinds[kind]["mean_iou"] >= target for kind, target in TARGETS.items())
    met = met and all(kinds[kind]["accepted_below"] == 0 for kind in KINDS)
    told = ", ".join(f"{kind} >= {target}" for kind, target in TARGETS.items())
    print(f"    target, mean IoU {told}, none accepted below {BAD_IOU}: {'met' if met else 'missed'}")
    return {"kinds": kinds, "drawings": drawings, "rows": rows, "met": met}


def _drawings(seed: int, quick: bool) -> list[Drawing]:
    drawings = [drawing for drawing in draw_samples(seed) if drawing.background in KINDS]
    return list({drawing.background: drawing for drawing in drawings}.values()) if quick else drawings


def _row(drawing: Drawing, seed: int, matte: Any) -> dict[str, Any]:
    truth = drawing.mask.astype(np.float32) / np.float32(255)
    return {
        "drawing": drawing.name,
        "seed": seed,
        "background": drawing.background,
        "iou": overlap_iou(matte.alpha, truth),
        "accepted": matte.status is Status.OK,
        "confidence": matte.metrics["confidence"],
        "parts": matte.details.get("confidence_parts", {}),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    good = [row["iou"] >= GOOD_IOU for row in rows]
    accepted = [row["accepted"] for row in rows]
    return {
        "drawings": len(rows),
        "mean_iou": statistics.fmean(row["iou"] for row in rows),
        "worst_iou": min(row["iou"] for row in rows),
        "accepted": sum(accepted),
        "good": sum(good),
        "good_refused": sum(g and not a for g, a in zip(good, accepted, strict=True)),
        "bad_accepted": sum(a and not g for g, a in zip(good, accepted, strict=True)),
        "accepted_below": sum(row["accepted"] and row["iou"] < BAD_IOU for row in rows),
    }


def _print(name: str, row: dict[str, Any]) -> None:
    cells = "".join(
        f"{value:13.3f}" if isinstance(value, float) else f"{value:13d}" for value in row.values()
    )
    print(f"    {name:<24}{cells}", flush=True)
