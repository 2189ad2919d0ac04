import numpy as np
import pytest
import threadpoolctl
from scipy.sparse import csr_matrix

from imgpipe.inference.threads import one_blas_thread
from imgpipe.matting import solver
from imgpipe.matting.laplacian import BandSystem
from imgpipe.matting.solver import solve_band, solve_double, solve_single


def _chain(length: int) -> BandSystem:
    """x_0 = 0 and x_{n+1} = 1 beside a chain of springs: the solution is the straight line between."""
    matrix = 2 * np.eye(length) - np.eye(length, k=1) - np.eye(length, k=-1)
    right_side = np.zeros(length)
    right_side[-1] = 1
    return BandSystem(csr_matrix(matrix), right_side, np.arange(length), length)


@pytest.mark.parametrize("solve", [solve_single, solve_double, solve_band])
def test_a_chain_of_springs(solve: type) -> None:
    solution = solve(_chain(50), np.full(50, 0.5))
    assert solution.converged
    np.testing.assert_allclose(solution.values, np.arange(1, 51) / 51, atol=1e-6)


def test_what_nothing_determines_keeps_the_guess() -> None:
    matrix = csr_matrix(np.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 2]]))
    system = BandSystem(matrix, np.array([0.0, 0, 1]), np.arange(3), 3)
    solution = solve_double(system, np.array([0.3, 0.3, 0]))
    assert solution.converged
    np.testing.assert_allclose(solution.values, [0.3, 0.3, 0.5], atol=1e-4)


def test_an_iteration_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "_MAX_REFINEMENTS", 1)
    guess = np.full(50, 0.5)
    solution = solve_single(_chain(50), guess)
    assert not solution.converged
    np.testing.assert_array_equal(solution.values, guess)


def test_single_precision_that_fails_is_repeated_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "_MAX_REFINEMENTS", 1)
    solution = solve_band(_chain(50), np.full(50, 0.5))
    assert (solution.converged, solution.iterations) == (True, 0)
    np.testing.assert_allclose(solution.values, np.arange(1, 51) / 51, atol=1e-6)


def test_a_solution_does_not_spread_over_the_threads_of_blas() -> None:
    threadpoolctl.threadpool_limits(limits=2, user_api="blas")
    one_blas_thread.cache_clear()
    solve_band(_chain(50), np.full(50, 0.5))
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert any("scipy" in pool["filepath"] for pool in pools)
    assert {pool["num_threads"] for pool in pools} == {1}
