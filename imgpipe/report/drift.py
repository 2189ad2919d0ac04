"""Differences from the previous report of the same data set."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

#: Images named per change of status.
_LISTED = 20


def frame_digest(frame: pd.DataFrame, metrics: Sequence[str]) -> str:
    """sha256 (hex) of the values that drift compares: images, statuses, stage hashes and scores."""
    columns = ["source_key", "status", "stage_hash", *metrics]
    values = frame[columns].sort_values("source_key", kind="stable")
    text = values.to_json(orient="values", double_precision=10)
    return hashlib.sha256(json.dumps([columns, text]).encode()).hexdigest()


def compare_frames(before: pd.DataFrame, after: pd.DataFrame, metrics: Sequence[str]) -> dict[str, Any]:
    """JSON-ready comparison by ``image_id``.

    ``images``: added, removed, common. ``transitions``: from, to, count, the first sources. ``metrics``:
    per score over the images that have it in both: n, mean before, mean after, mean change, largest change
    with its source, share that changed, and ``effect`` = mean change / standard deviation of the change (0
    where nothing changed; ``None`` where every image changed by the same).
    """
    old, new = before.set_index("image_id"), after.set_index("image_id")
    common = new.index.intersection(old.index, sort=False)
    old, new_common = old.loc[common], new.loc[common]
    return {
        "images": {
            "added": int(len(new) - len(common)),
            "removed": int(len(before) - len(common)),
            "common": len(common),
        },
        "transitions": _transitions(old["status"], new_common),
        "metrics": [
            change
            for name in metrics
            if name in old and (change := _metric_change(name, old[name], new_common)) is not None
        ],
    }


def is_quiet(drift: Mapping[str, Any]) -> bool:
    """True where there is no difference."""
    images = drift["images"]
    return (
        not images["added"]
        and not images["removed"]
        and not drift["transitions"]
        and not any(change["changed_share"] for change in drift["metrics"])
    )


def _transitions(old: pd.Series, new: pd.DataFrame) -> list[dict[str, Any]]:
    pairs = pd.DataFrame(
        {"old": old.astype(str), "new": new["status"].astype(str), "source": new["source_key"].astype(str)}
    )
    changed = pairs[pairs["old"] != pairs["new"]]
    found = [
        {
            "from": names[0],
            "to": names[1],
            "count": len(part),
            "sources": part["source"].iloc[:_LISTED].tolist(),
        }
        for names, part in changed.groupby(["old", "new"])
    ]
    return sorted(found, key=lambda change: -int(str(change["count"])))


def _metric_change(name: str, old: pd.Series, new: pd.DataFrame) -> dict[str, Any] | None:
    first, second = old.to_numpy(np.float64), new[name].to_numpy(np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return None
    first, second = first[known], second[known]
    change = second - first
    spread, mean = float(change.std()), float(change.mean())
    largest = int(np.argmax(np.abs(change)))
    effect: float | None = 0.0
    if spread > abs(mean) * 1e-9:
        effect = mean / spread
    elif not math.isclose(mean, 0.0, abs_tol=1e-15):
        effect = None
    return {
        "metric": name,
        "n": len(change),
        "before": float(first.mean()),
        "after": float(second.mean()),
        "change": mean,
        "effect": effect,
        "changed_share": float(np.mean(np.abs(change) > 1e-12)),
        "largest": float(change[largest]),
        "largest_source": str(new["source_key"].iloc[np.flatnonzero(known)[largest]]),
    }
