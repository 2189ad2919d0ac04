"""How far each contender's cutouts are from the truth, per case, per kind of background, and all together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgpipe.quality.matte_error import matte_errors
from mattes.cases import BACKGROUNDS, Case, make_cases, subject_names
from mattes.contenders import OURS, RIVALS, Cut, contenders

#: Errors of alpha (see ``imgpipe.quality.matte_error``), and of the colours: see :func:`_colour_errors`.
ERRORS = ("sad", "mse", "grad", "conn", "colour", "composite")

#: What the cutouts are put on: black, white and magenta.
_NEW_BACKGROUNDS = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 255]], np.float32) / 255

Rows = dict[str, dict[str, float]]


def measure(edge: int, subjects: Sequence[str] | None = None) -> dict[str, Any]:
    """Contender -> error -> mean, per background kind and overall; and every case's rows."""
    cuts = contenders()
    cases: dict[str, Rows] = {}
    kinds: dict[str, list[Rows]] = {kind: [] for kind in BACKGROUNDS}
    for case in make_cases(edge, subjects or subject_names()):
        rows = _measure_case(case, cuts)
        cases[case.name] = rows
        kinds[case.background].append(rows)
        print("." if not _worse(rows) else "w", end="", flush=True)
    table = {kind: _means(rows) for kind, rows in kinds.items()}
    table["all"] = _means(list(cases.values()))
    print(f"  {len(cases)} cases of {edge} x {edge} (w: ours is worse than a rival in some error)")
    _print(table)
    missed = {kind: _worse(rows) for kind, rows in table.items()}
    met = not any(missed.values())
    print(f"    target, better than the best of rembg's in every error: {'met' if met else 'missed'}")
    return {"means": table, "missed": missed, "met": met, "cases": cases}


def _measure_case(case: Case, cuts: Mapping[str, Cut]) -> Rows:
    results, rows = {}, {}
    for name, cut in cuts.items():
        begin = time.perf_counter()
        results[name] = cut(case.picture, case.mask)
        rows[name] = {"seconds": time.perf_counter() - begin}
    shown = np.logical_and.reduce([results[name][..., 3] > 0 for name in cuts])
    for name, result in results.items():
        alpha = result[..., 3].astype(np.float32) / np.float32(255)
        errors = matte_errors(case.alpha, alpha)
        rows[name] |= {"sad": errors.sad, "mse": errors.mse, "grad": errors.grad, "conn": errors.conn}
        rows[name] |= _colour_errors(case, result, shown)
    return rows


def _colour_errors(case: Case, result: np.ndarray[Any, Any], shown: np.ndarray[Any, Any]) -> dict[str, float]:
    """On the truth's soft band (alpha 0.02..0.98), levels of 255.

    ``colour``: mean difference of the foreground colours, weighted by the truth's alpha (how much of it is
    seen), where all contenders show anything. ``composite``: mean difference of the cutouts put on three new
    backgrounds, which alpha and colour share.
    """
    band = (case.alpha > 0.02) & (case.alpha < 0.98)
    colour = result[..., :3].astype(np.float32) / np.float32(255)
    alpha = result[..., 3].astype(np.float32) / np.float32(255)
    visible = band & shown
    weight = case.alpha[visible]
    difference = np.abs(colour[visible] - case.foreground[visible]).mean(axis=1)
    covered, truth = alpha[band][:, None], case.alpha[band][:, None]
    parts = [
        np.abs(covered * colour[band] - truth * case.foreground[band] + (truth - covered) * behind).mean()
        for behind in _NEW_BACKGROUNDS
    ]
    return {
        "colour": 255 * float((difference * weight).sum() / max(float(weight.sum()), 1e-9)),
        "composite": 255 * float(np.mean(parts)),
    }


def _worse(rows: Rows) -> list[str]:
    """The errors in which ours is not below the best rival."""
    return [error for error in ERRORS if not rows[OURS][error] < min(rows[rival][error] for rival in RIVALS)]


def _means(cases: Sequence[Rows]) -> Rows:
    means: Rows = {}
    for name in cases[0] if cases else ():
        keys = cases[0][name]
        means[name] = {key: statistics.fmean(rows[name][key] for rows in cases) for key in keys}
    for rows in (means,) if means else ():
        rows[OURS]["cases_better_in_all_errors"] = sum(not _worse(case) for case in cases)
    return means


def _print(table: dict[str, Rows]) -> None:
    print(f"    {'':<10}{'':<18}" + "".join(f"{error:>10}" for error in ERRORS) + f"{'seconds':>10}")
    for kind, rows in table.items():
        for name, row in rows.items():
            line = "".join(f"{row[error]:10.3f}" for error in ERRORS)
            print(f"    {kind:<10}{name:<18}{line}{row['seconds']:10.3f}")
