"""The solver of closed-form matting against pymatting's, and both against exact arithmetic.

Ours and pymatting's are told the same trimap of each case, without a prior's weight, so that they solve the
same equations. Where they differ, a referee says who is right: on a small crop it computes every window's
weights in integers, without any rounding, and solves the dense system with residuals in long double.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.linalg import lu_factor, lu_solve

from imgpipe.matting.closed_form import solve_closed_form
from imgpipe.matting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, make_trimap, scaled_erosion_px
from imgpipe.settings import RembgSettings
from mattes.cases import BACKGROUNDS, Case, make_cases

Alpha = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

#: Label -> (1 / epsilon, pymatting's relative tolerance). The first row is pymatting as it comes.
SETTINGS = {
    "epsilon 1e-7, pymatting's tolerance 1e-7 (its defaults)": (10_000_000, 1e-7),
    "epsilon 1e-7, tolerance 1e-10": (10_000_000, 1e-10),
    "epsilon 1e-5, tolerance 1e-10": (100_000, 1e-10),
    "epsilon 1e-4, tolerance 1e-10": (10_000, 1e-10),
}
CROP_PX = 32
TARGET_MAX_255, TARGET_MEAN_255 = 1.0, 0.1


def measure(edge: int, subjects: Sequence[str]) -> dict[str, Any]:
    """Differences in levels of 255: on the whole cases, and to the referee on their crops."""
    print(f"\nsolver, cases of {edge} x {edge}, differences in levels of 255 (max, mean)")
    print(f"    {'':<58}{'ours - pymatting':>20}{'crop: ours - exact':>22}{'pymatting - exact':>20}")
    cases = [(case, _trimap(case)) for case in make_cases(edge, subjects)]
    table: dict[str, Any] = {}
    for label, (inverse_epsilon, tolerance) in SETTINGS.items():
        table[label] = {}
        for kind in (*BACKGROUNDS, "all"):
            chosen = [pair for pair in cases if kind in (pair[0].background, "all")]
            if kind == "all":
                rows = [row for one in table[label].values() for row in one["cases"].values()]
            else:
                rows = [_compare(case, trimap, inverse_epsilon, tolerance) for case, trimap in chosen]
            table[label][kind] = _summary(rows)
            if kind != "all":
                names = [case.name for case, _ in chosen]
                table[label][kind]["cases"] = dict(zip(names, rows, strict=True))
            _print(f"{label}, {kind}" if kind == "all" else f"  {kind}", table[label][kind])
    ours = max(rows["all"]["ours_exact_max"] for rows in table.values())
    agree = [
        label
        for label, rows in table.items()
        if rows["all"]["pair_max"] <= TARGET_MAX_255 and rows["all"]["pair_mean"] <= TARGET_MEAN_255
    ]
    print(f"    ours is never farther than {ours:.4f}/255 from exact; the two agree at: {agree or 'none'}")
    return {"table": table, "agree": agree, "met": bool(agree) and ours <= TARGET_MAX_255}


def exact_alpha(colour: Pixels, trimap: Pixels, inverse_epsilon: int) -> Alpha:
    """Closed-form alpha of a small crop, float64, unknown pixels not clipped apart from 0..1.

    ``colour``: uint8 (height, width, 3); epsilon is ``1 / inverse_epsilon``, on colours in 0..1.
    """
    height, width = trimap.shape
    index = np.arange(height * width).reshape(height, width)
    windows = sliding_window_view(index, (3, 3)).reshape(-1, 9)
    weights = _exact_weights(colour.reshape(-1, 3)[windows].astype(object), inverse_epsilon)
    matrix = np.zeros((height * width, height * width), np.longdouble)
    for first in range(9):
        for second in range(9):
            np.add.at(matrix, (windows[:, first], windows[:, second]), weights[:, first, second])
    unknown = trimap.ravel() == UNKNOWN
    values = (trimap.ravel() == FOREGROUND).astype(np.longdouble)
    inner = matrix[unknown][:, unknown]
    right_side = -matrix[unknown][:, ~unknown] @ values[~unknown]
    values[unknown] = _refined(inner, right_side)
    return np.asarray(np.clip(values, 0.0, 1.0), np.float64).reshape(height, width)


def _exact_weights(colours: np.ndarray[Any, Any], inverse_epsilon: int) -> np.ndarray[Any, Any]:
    """(windows, 9, 3) Python integers 0..255 -> each window's part of the Laplacian, (windows, 9, 9).

    With the sums over the window ``s = sum c`` and ``M = 9 sum c c' - s s'`` the covariance on colours in
    0..1 is ``M / (81 * 255^2)``, so that ``A = q M + 9 * 255^2 I`` is ``81 * 255^2 * q`` times the
    regularised one for epsilon ``1/q``, and ``u_i = 9 c_i - s`` gives ``q u_i' adj(A) u_j / det(A)``:
    integers up to the last division, which is rounded once.
    """
    total = colours.sum(axis=1)
    product = 9 * np.einsum("wik,wil->wkl", colours, colours) - total[:, :, None] * total[:, None, :]
    a = inverse_epsilon * product
    for k in range(3):
        a[:, k, k] = a[:, k, k] + 9 * 255**2
    adjugate = np.empty_like(a)
    for k in range(3):
        for m in range(3):
            r, s, c, d = (k + 1) % 3, (k + 2) % 3, (m + 1) % 3, (m + 2) % 3
            adjugate[:, m, k] = a[:, r, c] * a[:, s, d] - a[:, r, d] * a[:, s, c]
    determinant = sum(a[:, 0, k] * adjugate[:, k, 0] for k in range(3))
    centred = 9 * colours - total[:, None, :]
    turned = np.einsum("wik,wkl->wil", centred, adjugate)
    numerator = inverse_epsilon * np.einsum("wil,wjl->wij", turned, centred)
    whole = determinant[:, None, None]
    weights = -(numerator + whole)  # over 9 determinants
    diagonal = np.arange(9)
    weights[:, diagonal, diagonal] = weights[:, diagonal, diagonal] + 9 * determinant[:, None]
    return np.asarray(
        np.frompyfunc(lambda top, bottom: top / bottom, 2, 1)(weights, 9 * whole), np.longdouble
    )


def _refined(matrix: np.ndarray[Any, Any], right_side: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Dense solution in double precision, refined with residuals in long double until they stay."""
    factors = lu_factor(matrix.astype(np.float64))
    solution = np.zeros_like(right_side)
    smallest = np.inf
    for _ in range(20):
        residual = right_side - matrix @ solution
        size = float(np.abs(residual).max())
        if not size < smallest / 2:
            break
        smallest = size
        solution = solution + lu_solve(factors, residual.astype(np.float64))
    return solution


def _trimap(case: Case) -> Pixels:
    settings = RembgSettings()
    return make_trimap(
        case.mask.astype(np.float32) / np.float32(255),
        foreground_threshold=settings.foreground_threshold,
        background_threshold=settings.background_threshold,
        erosion_px=scaled_erosion_px(settings.erode_size, *case.mask.shape),
    )


def _compare(case: Case, trimap: Pixels, inverse_epsilon: int, tolerance: float) -> dict[str, float]:
    epsilon = 1 / inverse_epsilon
    unknown = trimap == UNKNOWN
    ours = solve_closed_form(case.picture, trimap, epsilon=epsilon).alpha
    theirs = _pymatting(case.picture, trimap, epsilon, tolerance)
    row = _differences("pair", ours, theirs, unknown)
    window = _crop(trimap)
    if window is not None:
        colour, part = np.ascontiguousarray(case.picture[window]), np.ascontiguousarray(trimap[window])
        exact = exact_alpha(colour, part, inverse_epsilon)
        inner = part == UNKNOWN
        row |= _differences(
            "ours_exact", solve_closed_form(colour, part, epsilon=epsilon).alpha, exact, inner
        )
        row |= _differences("pymatting_exact", _pymatting(colour, part, epsilon, tolerance), exact, inner)
    return row


def _pymatting(colour: Pixels, trimap: Pixels, epsilon: float, tolerance: float) -> Alpha:
    from pymatting import estimate_alpha_cf

    known = np.where(trimap == UNKNOWN, 0.5, trimap / 255)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice on its preconditioner
        alpha = estimate_alpha_cf(
            colour / 255,
            known,
            laplacian_kwargs={"epsilon": epsilon},
            cg_kwargs={"rtol": tolerance},
        )
    return np.asarray(alpha)


def _differences(name: str, one: Alpha, other: Alpha, where: np.ndarray[Any, Any]) -> dict[str, float]:
    difference = 255 * np.abs(one.astype(np.float64) - other)[where]
    return {f"{name}_max": float(difference.max(initial=0)), f"{name}_mean": float(difference.mean())}


def _crop(trimap: Pixels) -> tuple[slice, slice] | None:
    """The square with the most unknown pixels of those that hold enough of both kinds of known ones."""
    best, most = None, 0
    for top in range(0, trimap.shape[0] - CROP_PX + 1, 8):
        for left in range(0, trimap.shape[1] - CROP_PX + 1, 8):
            window = slice(top, top + CROP_PX), slice(left, left + CROP_PX)
            part = trimap[window]
            unknown = int(np.count_nonzero(part == UNKNOWN))
            sides = min(np.count_nonzero(part == BACKGROUND), np.count_nonzero(part == FOREGROUND))
            if unknown > most and sides >= CROP_PX**2 // 16:
                best, most = window, unknown
    return best


def _summary(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in ("pair", "ours_exact", "pymatting_exact"):
        kept = [row for row in rows if f"{name}_max" in row]
        summary[f"{name}_max"] = max((row[f"{name}_max"] for row in kept), default=0.0)
        summary[f"{name}_mean"] = float(np.mean([row[f"{name}_mean"] for row in kept] or [0.0]))
    return summary


def _print(label: str, row: dict[str, Any]) -> None:
    cells = "".join(
        f"{row[f'{name}_max']:11.4f}{row[f'{name}_mean']:10.5f}"
        for name in ("pair", "ours_exact", "pymatting_exact")
    )
    print(f"    {label:<58}{cells}", flush=True)
