import numpy as np
import pytest
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from imgpipe.matting.dissection import dissection


def _band(side: int) -> np.ndarray:
    """Flat indices of a ring of 9 px in a picture of ``side`` px."""
    rows, columns = np.mgrid[:side, :side]
    return np.flatnonzero(np.abs(np.hypot(rows - side / 2, columns - side / 2) - side / 3) < 4.5)


def _matrix(unknowns: np.ndarray, side: int) -> csc_matrix:
    """Diagonally dominant, with an entry for each two pixels of one 3x3 window."""
    number = np.full((side + 4, side + 4), -1)
    down, across = np.divmod(unknowns, side)
    number[down + 2, across + 2] = np.arange(unknowns.size)
    rows, columns = [], []
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            other = number[down + 2 + dy, across + 2 + dx]
            rows.append(np.flatnonzero(other >= 0))
            columns.append(other[other >= 0])
    row, column = np.concatenate(rows), np.concatenate(columns)
    return csc_matrix((np.where(row == column, 30.0, -1.0), (row, column)))


@pytest.mark.parametrize("unknowns", [_band(160), np.arange(1), np.arange(7), np.arange(160 * 160)])
def test_every_unknown_comes_once(unknowns: np.ndarray) -> None:
    np.testing.assert_array_equal(np.sort(dissection(unknowns, 160)), np.arange(unknowns.size))


def test_the_factor_is_as_small_as_with_minimum_degree() -> None:
    """And much smaller than in the pixels' own order."""
    unknowns = _band(300)
    matrix, order = _matrix(unknowns, 300), dissection(unknowns, 300)

    def entries(ordered: csc_matrix, how: str) -> int:
        return int(splu(ordered, how, 0.0, options={"SymmetricMode": True}).nnz)

    ours = entries(matrix[order][:, order].tocsc(), "NATURAL")
    assert ours < 1.2 * entries(matrix, "MMD_AT_PLUS_A"), ours
    assert ours < 0.65 * entries(matrix, "NATURAL"), ours
