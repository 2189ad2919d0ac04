from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from pymatting import estimate_alpha_cf
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from imgpipe.errors import ConfigError
from imgpipe.matting.closed_form import solve_closed_form
from imgpipe.matting.laplacian import EPSILON, window_weights
from imgpipe.matting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, make_trimap, scaled_erosion_px
from imgpipe_tests.matting.drawing import BACKGROUNDS, as_a_network_would, make_scene
from imgpipe_tests.opencv_files import opencv_decode


def _trimap(coarse: np.ndarray) -> np.ndarray:
    erosion = scaled_erosion_px(3, *coarse.shape)
    return make_trimap(coarse, foreground_threshold=240, background_threshold=10, erosion_px=erosion)


def _whole_picture(colour: np.ndarray, trimap: np.ndarray, epsilon: float) -> np.ndarray:
    scale = np.where(trimap == 128, 256.0, 255.0)
    full = np.iinfo(colour.dtype).max
    alpha = estimate_alpha_cf(
        colour / full, trimap / scale, laplacian_kwargs={"epsilon": epsilon}, cg_kwargs={"rtol": 1e-10}
    )
    return np.asarray(alpha)


def _assert_within_a_level(alpha: np.ndarray, reference: np.ndarray) -> None:
    difference = np.abs(alpha - reference) * 255
    worst = np.unravel_index(difference.argmax(), difference.shape)
    told = f"max {difference.max():.3f}/255 at {worst}, mean {difference.mean():.5f}/255"
    assert difference.max() <= 1, told
    assert difference.mean() <= 0.1, told


# In flat windows pymatting's determinant needs an epsilon that survives rounding: see the module.
@pytest.mark.parametrize(
    ("background", "epsilon"),
    [(background, 1e-4) for background in BACKGROUNDS] + [("noisy", EPSILON)],
)
def test_agrees_with_the_whole_pictures_solution(background: str, epsilon: float) -> None:
    scene = make_scene(3, background, 192)
    trimap = _trimap(as_a_network_would(scene.alpha))
    solved = solve_closed_form(scene.picture, trimap, epsilon=epsilon)
    assert solved.unsolved == 0
    _assert_within_a_level(solved.alpha, _whole_picture(scene.picture, trimap, epsilon))


def test_agrees_at_sixteen_bits() -> None:
    scene = make_scene(4, "gradient", 128)
    colour = scene.picture.astype(np.uint16) * 257
    trimap = _trimap(as_a_network_would(scene.alpha))
    solved = solve_closed_form(colour, trimap, epsilon=1e-4)
    _assert_within_a_level(solved.alpha, _whole_picture(colour, trimap, 1e-4))


def test_agrees_on_a_real_picture(shared: Path) -> None:
    folder = shared / "data/anime"
    picture = opencv_decode((folder / "anime-girl-1.jpg").read_bytes())[:, 200:650, ::-1]
    matted = (folder / "anime-girl-1.isnet-anime.png").read_bytes()
    published = opencv_decode(matted, cv2.IMREAD_UNCHANGED)
    colour = np.ascontiguousarray(picture)
    trimap = _trimap(published[:, 200:650, 3].astype(np.float32) / 255)
    solved = solve_closed_form(colour, trimap, epsilon=1e-5)
    _assert_within_a_level(solved.alpha, _whole_picture(colour, trimap, 1e-5))


@pytest.mark.parametrize("background", ["flat", "gradient"])
def test_flat_colours_are_solved_to_the_truth(background: str) -> None:
    scene = make_scene(3, background, 192)
    trimap = _trimap(as_a_network_would(scene.alpha))
    error = np.abs(solve_closed_form(scene.picture, trimap).alpha - scene.alpha)
    assert error.sum() < 5, f"SAD {error.sum():.2f} px, max {error.max():.3f}"


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_iteration_ends_at_the_direct_solution(background: str) -> None:
    scene = make_scene(6, background, 128)
    trimap = _trimap(as_a_network_would(scene.alpha))
    whole = _whole_laplacian(scene.picture)
    unknown = (trimap == 128).ravel()
    right_side = -whole[unknown][:, ~unknown] @ (trimap.ravel()[~unknown] / 255)
    direct = spsolve(whole[unknown][:, unknown].tocsc(), right_side)
    difference = np.abs(solve_closed_form(scene.picture, trimap).alpha.ravel()[unknown] - direct.clip(0, 1))
    assert difference.max() * 255 < 0.5, f"max {difference.max() * 255:.3f}/255"


def _whole_laplacian(colour: np.ndarray) -> csr_matrix:
    """The whole picture's Laplacian, every window's share added up pair by pair."""
    height, width = colour.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    windows = sliding_window_view(index, (3, 3)).reshape(-1, 9)
    shares = window_weights(colour.reshape(-1, 3)[windows] / 255)
    rows, columns = np.repeat(windows, 9, axis=1), np.tile(windows, (1, 9))
    size = height * width
    return csr_matrix((shares.ravel(), (rows.ravel(), columns.ravel())), shape=(size, size))


def test_a_prior_changes_the_start_and_not_the_solution() -> None:
    scene = make_scene(6, "noisy", 160)
    coarse = as_a_network_would(scene.alpha)
    trimap = _trimap(coarse)
    plain = solve_closed_form(scene.picture, trimap)
    started = solve_closed_form(scene.picture, trimap, prior=coarse)
    assert plain.one_sided == 0
    difference = np.abs(plain.alpha - started.alpha) * 255
    assert difference.max() < 0.1, f"max {difference.max():.3f}, mean {difference.mean():.5f}"


def test_a_weighted_prior_decides_what_colours_do_not() -> None:
    # One colour everywhere: only known pixels and the prior determine the result.
    colour = np.full((30, 60, 3), 120, np.uint8)
    trimap = np.full((30, 60), 128, np.uint8)
    trimap[:, :4], trimap[:, 56:] = 0, 255
    prior = np.zeros((30, 60), np.float32)
    prior[:, 40:] = 1
    free = solve_closed_form(colour, trimap, prior=prior).alpha
    pulled = solve_closed_form(colour, trimap, prior=prior, prior_weight=1.0).alpha
    assert np.abs(free - prior).mean() > 0.15
    assert np.abs(pulled - prior).mean() < 0.08
    # A prior of one half has no weight.
    unsure = np.full_like(prior, 0.5)
    same = solve_closed_form(colour, trimap, prior=unsure, prior_weight=1.0).alpha
    np.testing.assert_allclose(same, free, atol=1e-3)


def test_a_small_weight_moves_nothing_that_colours_decide() -> None:
    scene = make_scene(3, "flat", 160)
    coarse = as_a_network_would(scene.alpha)
    trimap = _trimap(coarse)
    free = solve_closed_form(scene.picture, trimap, prior=coarse).alpha
    pulled = solve_closed_form(scene.picture, trimap, prior=coarse, prior_weight=1e-4).alpha
    assert np.abs(free - pulled).mean() * 255 < 0.1


@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_a_weight_without_a_prior_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="prior_weight"):
        solve_closed_form(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), prior_weight=weight)


def test_a_blend_of_two_colours_is_recovered_exactly() -> None:
    truth = np.clip((np.arange(64) - 20) / 24, 0, 1)
    picture = np.zeros((24, 64, 3))
    picture += truth[:, None] * np.array([0.9, 0.6, 0.2]) + (1 - truth[:, None]) * np.array([0.1, 0.3, 0.8])
    colour = np.rint(picture * 65535).astype(np.uint16)
    trimap = np.full((24, 64), 128, np.uint8)
    trimap[:, :10], trimap[:, 54:] = 0, 255
    error = np.abs(solve_closed_form(colour, trimap).alpha - truth)
    assert error.max() < 2e-3, f"max {error.max():.2e} at column {error.max(axis=0).argmax()}"


def test_known_pixels_are_exact_and_nothing_unknown_is_free() -> None:
    trimap = np.zeros((16, 16), np.uint8)
    trimap[:, 8:] = 255
    solved = solve_closed_form(np.zeros((16, 16, 3), np.uint8), trimap)
    np.testing.assert_array_equal(solved.alpha, trimap / 255)
    assert (solved.bands, solved.iterations) == (0, 0)


def test_one_sided_bands() -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    trimap = np.zeros((40, 40), np.uint8)
    trimap[5:9, 5:9] = trimap[20:24, 20:24] = 128
    prior = np.zeros((40, 40), np.float32)
    prior[5:9, 5:9], prior[20:24, 20:24] = 0.3, 0.8
    with_prior = solve_closed_form(colour, trimap, prior=prior)
    assert (with_prior.bands, with_prior.one_sided) == (2, 2)
    np.testing.assert_array_equal(with_prior.alpha[5:9, 5:9], 0)
    np.testing.assert_array_equal(with_prior.alpha[20:24, 20:24], np.float32(0.8))
    assert solve_closed_form(colour, trimap).alpha.max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (3, 3)])
def test_tiny_pictures_are_defined(shape: tuple[int, int]) -> None:
    trimap = np.full(shape, 128, np.uint8)
    trimap.flat[0] = 255
    solved = solve_closed_form(np.zeros((*shape, 3), np.uint8), trimap)
    assert np.isfinite(solved.alpha).all()
    np.testing.assert_array_equal(solved.alpha, 1)


def test_steps_of_rounding_and_compression_make_none_in_alpha() -> None:
    """Blocks of 8x8 px that differ by a level or two, as those of a JPEG, between subject and background."""
    blocks = np.kron(np.random.default_rng(0).integers(0, 3, (5, 6, 3)), np.ones((8, 8, 1), np.int64))
    trimap = np.full((40, 48), UNKNOWN, np.uint8)
    trimap[:, :4], trimap[:, -4:] = FOREGROUND, BACKGROUND
    alpha = solve_closed_form((200 - blocks).astype(np.uint8), trimap, epsilon=None).alpha
    steps = np.abs(np.diff(alpha, axis=1)).max()
    assert steps < 0.15, f"largest step {steps:.2f}; 0.52 where every window has the same epsilon"


def test_a_band_that_is_too_large_keeps_its_prior_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (20, 60, 3), np.uint8)
    trimap = np.full((20, 60), BACKGROUND, np.uint8)
    trimap[3:17, 3:27], trimap[8:12, 10:20] = UNKNOWN, FOREGROUND
    trimap[8:12, 40:50], trimap[9:11, 42:48] = UNKNOWN, FOREGROUND
    prior = np.where(trimap == FOREGROUND, 1.0, np.where(trimap == UNKNOWN, 0.4, 0.0)).astype(np.float32)
    large = (trimap == UNKNOWN) & (np.arange(60) < 30)
    monkeypatch.setattr("imgpipe.matting.closed_form.MOST_UNKNOWNS", int(large.sum()) - 1)
    solved = solve_closed_form(colour, trimap, prior=prior)
    assert solved.unsolved == large.sum()
    assert (solved.alpha[large] == np.float32(0.4)).all()
    assert (solved.alpha[(trimap == UNKNOWN) & ~large] != np.float32(0.4)).all()
