"""Which images are shown: the worst of every check, what failed, and some good ones to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import pandas as pd

from imgpipe.records import Status

#: Share of the places that is kept for images with status ok.
_GOOD_SHARE = 0.15


def worst_per_check(checks: pd.DataFrame, count: int) -> dict[str, list[int]]:
    """check -> line numbers, worst margin first, ``count`` at most.

    Checks with failures come first (most failures first); a check whose values are all equal and pass is
    left out.
    """
    worst: dict[str, list[int]] = {}
    failures = (~checks["passed"] & (checks["severity"] != "info")).groupby(checks["name"], sort=False).sum()
    for name in failures.sort_values(ascending=False, kind="stable").index:
        mine = checks[checks["name"] == name].dropna(subset=["margin"])
        if not len(mine) or (mine["passed"].all() and mine["value"].nunique() == 1):
            continue
        ranked = mine.sort_values("margin", kind="stable")["position"].head(count)
        worst[str(name)] = [int(position) for position in ranked]
    return worst


def worst_first(statuses: Sequence[str], psnr_y: Sequence[float]) -> list[int]:
    """Positions of the images to look at first: what is not ok, then the lowest luma PSNR (dB)."""
    return sorted(range(len(statuses)), key=lambda i: (statuses[i] == Status.OK.value, psnr_y[i]))


def choose_images(frame: pd.DataFrame, worst: Mapping[str, Sequence[int]], limit: int) -> list[int]:
    """Line numbers of the images that get thumbnails, most important first, ``limit`` at most.

    First the worst of every check in turn, then what was rejected or failed, then good ones. Where all
    do not fit, 15 % of the places are kept for the good ones.
    """
    status = frame["status"].to_numpy()
    bad = [int(i) for i in range(len(frame)) if status[i] in (Status.REJECTED.value, Status.ERROR.value)]
    good = [int(i) for i in range(len(frame)) if status[i] == Status.OK.value]
    good.sort(key=lambda i: hashlib.sha256(str(frame["image_id"].iloc[i]).encode()).digest())
    kept_for_good = min(len(good), int(limit * _GOOD_SHARE))
    in_turn = (position for rank in zip_longest(*worst.values()) for position in rank if position is not None)
    first = list(dict.fromkeys((*in_turn, *bad)))[: limit - kept_for_good]
    return list(dict.fromkeys((*first, *good, *bad)))[:limit]
