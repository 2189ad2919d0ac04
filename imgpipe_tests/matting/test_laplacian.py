import numpy as np
import pytest

from imgpipe.matting.laplacian import EPSILON, band_system, window_weights


def _textbook(colours: np.ndarray) -> np.ndarray:
    """Levin et al. 2008, equation 12, in long double by Gaussian elimination."""
    exact = colours.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    covariance = centred.T @ centred / 9 + np.eye(3, dtype=np.longdouble) * (EPSILON / 9)
    augmented = np.hstack([covariance, centred.T])
    for pivot in range(3):
        augmented[pivot] /= augmented[pivot, pivot]
        for row in range(3):
            if row != pivot:
                augmented[row] -= augmented[row, pivot] * augmented[pivot]
    return np.asarray(np.eye(9) - (1 + centred @ augmented[:, 3:]) / 9, np.float64)


@pytest.mark.parametrize("kind", ["random", "flat", "grey", "two colours", "near flat"])
def test_window_weights_follow_the_paper(kind: str) -> None:
    rng = np.random.default_rng(5)
    colours = {
        "random": rng.random((20, 9, 3)),
        "flat": np.full((20, 9, 3), 0.4),
        "grey": np.repeat(rng.random((20, 9, 1)), 3, axis=2),
        "two colours": np.where(rng.random((20, 9, 1)) < 0.5, [0.9, 0.7, 0.6], [0.1, 0.2, 0.4]),
        "near flat": 0.5 + np.rint(rng.normal(0, 1, (20, 9, 3))) / 255,
    }[kind]
    weights = window_weights(colours, EPSILON)
    error = np.abs(weights - np.array([_textbook(window) for window in colours]))
    assert error.max() < 1e-5, f"max {error.max():.2e}, mean {error.mean():.2e}"
    np.testing.assert_allclose(weights.sum(axis=2), 0, atol=1e-9)
    assert np.linalg.eigvalsh(weights).min() > -1e-9


def test_the_system_is_the_whole_pictures_laplacian_cut_out() -> None:
    from pymatting.laplacian.cf_laplacian import cf_laplacian

    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (11, 9, 3)).astype(np.uint8)
    alpha = rng.random((11, 9)).astype(np.float32)
    unknown = np.zeros((11, 9), bool)
    unknown[3:8, 2:7] = True
    unknown[0, 0] = unknown[10, 4] = True
    unknowns = np.flatnonzero(unknown)
    centres = np.array([y * 9 + x for y in range(1, 10) for x in range(1, 8)])
    number = np.full(99, -1, np.int32)
    system = band_system(colour, alpha, number, unknowns, centres)
    whole = cf_laplacian(colour / 255.0).tocsr()
    expected = whole[unknowns][:, unknowns].toarray()
    np.testing.assert_allclose(system.matrix.toarray(), expected, atol=1e-7)
    known = np.flatnonzero(~unknown)
    np.testing.assert_allclose(
        system.right_side, -whole[unknowns][:, known] @ alpha.ravel()[known], atol=1e-6
    )
    assert (number == -1).all()
    assert system.matrix.has_sorted_indices
