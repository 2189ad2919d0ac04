"""Solving one band's sparse system.

The systems have soft modes (a region of one colour that hardly touches another). An iteration that stops at
a relative residual of 1e-7, pymatting's default, leaves such regions off by up to 40/255; at 1e-9 by
0.1/255. So the iteration goes on to 1e-10, which costs two or three steps where the preconditioner is the
complete factor in single precision. A band is thin, so that factor stays small and is quick to make; the
incomplete factor is for bands too large even for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgpipe.inference.threads import one_blas_thread
from imgpipe.matting.laplacian import BandSystem, Float

#: Above this many unknowns the complete factor (about 1.1 kB each, growing slowly) becomes an incomplete one.
COMPLETE_UNKNOWNS = 1_000_000

TOLERANCE = 1e-10
MAX_ITERATIONS = 5000

#: With a complete factor more steps than this mean that single precision was not enough for it.
_MAX_REFINEMENTS = 50

#: Ties modes that no known pixel determines to the guess, without moving the others by 1/1000 of a level.
_TIE = 1e-11

#: The incomplete factorisation drops entries below the first share of their column, and the smallest of those
#: beyond so many times the matrix's entries; soft bands need 4 to 5 times. The share of its diagonal that is
#: added to it lies above that: dropped entries make nearly singular pivots negative.
_DROP, _FILL, _SHIFT = 1e-5, 12, 1e-4

#: SuperLU with minimum degree ordering; symmetric mode keeps the diagonal as pivots.
_ORDERING, _MODE = "MMD_AT_PLUS_A", {"SymmetricMode": True}


@dataclass(frozen=True, slots=True, eq=False)
class BandSolution:
    """``values``: float64, one per unknown, the guess itself where ``converged`` is false."""

    values: Float
    iterations: int
    converged: bool


def solve_band(system: BandSystem, guess: Float) -> BandSolution:
    """The solution of ``system``; ``guess``: float64, one value per unknown."""
    one_blas_thread()
    if system.unknowns.size > COMPLETE_UNKNOWNS:
        return solve_incomplete(system, guess)
    solution = solve_single(system, guess)
    return solution if solution.converged else solve_double(system, guess)


def solve_single(system: BandSystem, guess: Float) -> BandSolution:
    """Conjugate gradients in double precision on a complete factor in single precision."""
    return _iterate(system, guess, _factor, _MAX_REFINEMENTS)


def solve_double(system: BandSystem, guess: Float) -> BandSolution:
    """Solve with a complete factor in double precision; undetermined values keep their guess."""
    from scipy.sparse import identity

    tied = system.matrix + _TIE * identity(system.unknowns.size, format="csr")
    try:
        values = np.asarray(_factor(tied).solve(system.right_side + _TIE * guess), np.float64)
    except RuntimeError:  # exactly singular: reported as converged=False
        return BandSolution(guess, 0, converged=False)
    finite = bool(np.isfinite(values).all())
    return BandSolution(values if finite else guess, 0, converged=finite)


def solve_incomplete(system: BandSystem, guess: Float) -> BandSolution:
    """Conjugate gradients in double precision on an incomplete factor in single precision."""
    return _iterate(system, guess, _incomplete_factor, MAX_ITERATIONS)


def _factor(matrix: Any) -> Any:
    from scipy.sparse.linalg import splu

    sizes = {"relax": 16, "panel_size": 8}  # a third faster than the defaults on 175,000 unknowns
    return splu(matrix.tocsc(), _ORDERING, 0.0, options=_MODE, **sizes)


def _incomplete_factor(matrix: Any) -> Any:
    from scipy.sparse import diags
    from scipy.sparse.linalg import spilu

    shifted = (matrix + diags(np.float32(_SHIFT) * matrix.diagonal())).tocsc()
    return spilu(shifted, _DROP, _FILL, permc_spec=_ORDERING, diag_pivot_thresh=0.0, options=_MODE)


def _iterate(system: BandSystem, guess: Float, factorise: Callable[[Any], Any], most: int) -> BandSolution:
    from scipy.sparse.linalg import LinearOperator, cg

    matrix, steps = system.matrix, 0
    try:
        factor = factorise(matrix.astype(np.float32))
    except RuntimeError:  # singular in single precision: reported as converged=False
        return BandSolution(guess, 0, converged=False)

    def precondition(residual: Float) -> Float:
        # Scaled to its own size: late residuals are below what single precision can hold.
        size = float(np.abs(residual).max()) or 1.0
        return np.asarray(factor.solve((residual / size).astype(np.float32)), np.float64) * size

    def count(_: Float) -> None:
        nonlocal steps
        steps += 1

    values, unfinished = cg(
        matrix,
        system.right_side,
        x0=guess,
        rtol=TOLERANCE,
        maxiter=most,
        M=LinearOperator(matrix.shape, precondition, dtype=np.float64),
        callback=count,
    )
    converged = unfinished == 0 and bool(np.isfinite(values).all())
    return BandSolution(np.asarray(values, np.float64) if converged else guess, steps, converged)
