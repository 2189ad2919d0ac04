from __future__ import annotations

import numpy as np
import pytest
from pymatting import estimate_alpha_cf

from imgpipe.matting.closed_form import solve_closed_form
from imgpipe.matting.coarse_to_fine import solve_coarse_to_fine
from imgpipe.matting.trimap import make_trimap
from imgpipe_tests.matting.drawing import as_a_network_would, make_scene


@pytest.mark.parametrize("background", ["flat", "gradient", "noisy"])
def test_hair_stays_as_near_to_the_truth_as_with_every_pixel_solved(background: str) -> None:
    scene = make_scene(3, background, 256)
    coarse = as_a_network_would(scene.alpha)
    trimap = make_trimap(coarse, foreground_threshold=240, background_threshold=10, erosion_px=3)
    solved = solve_coarse_to_fine(scene.picture, trimap, prior=coarse, prior_weight=5e-3)
    whole = solve_closed_form(scene.picture, trimap, prior=coarse, prior_weight=5e-3)
    mask, ours, at_once = (
        float(np.abs(alpha - scene.alpha).sum()) for alpha in (coarse, solved.finest.alpha, whole.alpha)
    )
    assert ours < 0.2 * mask, f"SAD of the mask {mask:.0f} px, ours {ours:.0f} px, at once {at_once:.0f} px"
    assert ours < 1.2 * at_once
    assert len(solved.solved_px) > 1


def test_agrees_with_pymatting_across_a_wide_band() -> None:
    scene = make_scene(5, "flat", 256)
    coarse = as_a_network_would(scene.alpha)
    trimap = make_trimap(coarse, foreground_threshold=240, background_threshold=10, erosion_px=6)
    theirs = estimate_alpha_cf(scene.picture / 255, trimap / 255, laplacian_kwargs={"epsilon": 1e-5})
    solved = solve_coarse_to_fine(scene.picture, trimap, prior=coarse, prior_weight=5e-3)
    assert sum(solved.solved_px) < 0.8 * np.count_nonzero(trimap == 128)
    ours, rival = (np.abs(alpha - scene.alpha).mean() for alpha in (solved.finest.alpha, theirs))
    assert ours < rival + 0.5 / 255, f"mean error {255 * ours:.2f}, pymatting's {255 * rival:.2f} of 255"


def test_known_pixels_stay_and_a_narrow_band_is_solved_at_once() -> None:
    scene = make_scene(1, "flat", 192)
    trimap = make_trimap(scene.alpha, foreground_threshold=240, background_threshold=10, erosion_px=1)
    solved = solve_coarse_to_fine(scene.picture, trimap, prior=scene.alpha, prior_weight=5e-3)
    whole = solve_closed_form(scene.picture, trimap, prior=scene.alpha, prior_weight=5e-3)
    assert solved.solved_px == (int(np.count_nonzero(trimap == 128)),)
    np.testing.assert_array_equal(solved.finest.alpha, whole.alpha)


def test_odd_sides_and_known_pixels() -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (151, 167, 3)).astype(np.uint16)
    prior = np.full((151, 167), 0.5, np.float32)
    trimap = np.full((151, 167), 128, np.uint8)
    trimap[:, :20], trimap[:, -21:] = 0, 255
    solved = solve_coarse_to_fine(colour, trimap, prior=prior, prior_weight=5e-3)
    alpha = solved.finest.alpha
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    np.testing.assert_array_equal(alpha[:, :20], 0)
    np.testing.assert_array_equal(alpha[:, -21:], 1)
