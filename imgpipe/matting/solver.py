"""Solving one band's sparse system.

The systems have soft modes (a region of one colour that hardly touches another). An iteration that stops at
a relative residual of 1e-7, pymatting's default, leaves such regions off by up to 40/255; at 1e-9 by
0.1/255. So the iteration goes on to 1e-10, which costs two or three steps where the preconditioner is the
complete factor in single precision. A band is thin, so that the factor stays small and is quick to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imgpipe.inference.threads import one_blas_thread
from imgpipe.matting.dissection import dissection
from imgpipe.matting.laplacian import BandSystem, Float

#: A system of more unknowns is not solved: SuperLU counts the room that it takes first in 32 bits.
MOST_UNKNOWNS = 3_000_000

TOLERANCE = 1e-10

#: More steps than this mean that single precision was not enough for the factor.
_MAX_REFINEMENTS = 50

#: Ties modes that no known pixel determines to the guess, without moving the others by 1/1000 of a level.
_TIE = 1e-11

#: Of SuperLU: the diagonal stays the pivots.
_MODE = {"SymmetricMode": True}


@dataclass(frozen=True, slots=True, eq=False)
class BandSolution:
    """``values``: float64, one per unknown, the guess itself where ``converged`` is false."""

    values: Float
    iterations: int
    converged: bool


def solve_band(system: BandSystem, guess: Float) -> BandSolution:
    """The solution of ``system``; ``guess``: float64, one value per unknown."""
    one_blas_thread()
    solution = solve_single(system, guess)
    return solution if solution.converged else solve_double(system, guess)


def solve_single(system: BandSystem, guess: Float) -> BandSolution:
    """Conjugate gradients in double precision on a complete factor in single precision."""
    from scipy.sparse.linalg import LinearOperator, cg

    matrix, steps = system.matrix, 0
    try:
        factor = _Factor(system, matrix, np.float32)
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
        maxiter=_MAX_REFINEMENTS,
        M=LinearOperator(matrix.shape, precondition, dtype=np.float64),
        callback=count,
    )
    converged = unfinished == 0 and bool(np.isfinite(values).all())
    return BandSolution(np.asarray(values, np.float64) if converged else guess, steps, converged)


def solve_double(system: BandSystem, guess: Float) -> BandSolution:
    """Solve with a complete factor in double precision; undetermined values keep their guess."""
    from scipy.sparse import identity

    tied = system.matrix + _TIE * identity(system.unknowns.size, format="csr")
    try:
        factor = _Factor(system, tied, np.float64)
        values = np.asarray(factor.solve(system.right_side + _TIE * guess), np.float64)
    except RuntimeError:  # exactly singular: reported as converged=False
        return BandSolution(guess, 0, converged=False)
    finite = bool(np.isfinite(values).all())
    return BandSolution(values if finite else guess, 0, converged=finite)


class _Factor:
    """Of a matrix with the pattern of ``system``'s, by dissection, in ``dtype``."""

    def __init__(self, system: BandSystem, matrix: Any, dtype: type[np.floating]) -> None:
        from scipy.sparse import csc_matrix
        from scipy.sparse.linalg import splu

        self._order = dissection(system.unknowns, system.width)
        self._place = np.empty_like(self._order, np.int32)
        self._place[self._order] = np.arange(self._order.size, dtype=np.int32)
        rows = matrix[self._order]
        # The matrix is symmetric: its rows are its columns.
        columns = csc_matrix((rows.data.astype(dtype), self._place[rows.indices], rows.indptr), matrix.shape)
        columns.has_canonical_format = True  # but for the sequence within a column, which does not matter
        del rows
        # Columns one by one are faster than in panels, since a band's fronts are small.
        self._factor = splu(columns, "NATURAL", 0.0, panel_size=1, options=_MODE)

    def solve(self, right_side: Any) -> Any:
        return self._factor.solve(right_side[self._order])[self._place]
