import numpy as np
import pytest
from pymatting import estimate_foreground_ml

from imgpipe.matting.foreground import decontaminate
from imgpipe_tests.matting.drawing import make_scene


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_known_blend_is_unmixed(dtype: type[np.uint8] | type[np.uint16]) -> None:
    full = int(np.iinfo(dtype).max)
    ramp = np.clip((np.arange(60, dtype=np.float32) - 25) / 10, 0, 1)
    alpha = np.asarray(ramp[None].repeat(40, axis=0), np.float32)
    subject, behind = np.array([0.8, 0.2, 0.2]), np.array([0.1, 0.5, 0.9])
    picture = alpha[..., None] * subject + (1 - alpha[..., None]) * behind
    colour = np.rint(picture * full).astype(dtype)
    soft = (alpha > 0) & (alpha < 1)
    result = decontaminate(colour, alpha, soft)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[~soft], colour[~soft])
    error = np.abs(result[soft] / full - subject)[alpha[soft] > 0.1]
    before = np.abs(colour[soft] / full - subject)[alpha[soft] > 0.1]
    assert error.mean() < 0.02, f"mean {error.mean():.3f}, max {error.max():.3f}"
    assert error.mean() < 0.1 * before.mean()


def test_hair_loses_the_backgrounds_colour() -> None:
    scene = make_scene(2, "flat", 256)
    soft = (scene.alpha > 0) & (scene.alpha < 1)
    result = decontaminate(scene.picture, scene.alpha, soft)
    band = (scene.alpha > 0.1) & (scene.alpha < 0.9)
    before = np.abs(scene.picture[band] / 255 - scene.foreground[band]).mean()
    after = np.abs(result[band] / 255 - scene.foreground[band]).mean()
    assert after < 0.2 * before, f"before {before:.3f}, after {after:.3f}"


# Over even backgrounds the equation decides; over busy ones both are guesses from the neighbourhood.
@pytest.mark.parametrize(
    ("background", "share"), [("flat", 0.7), ("gradient", 0.7), ("noisy", 1.1), ("drawn", 1.0)]
)
def test_beside_the_multilevel_estimate(background: str, share: float) -> None:
    scene = make_scene(4, background, 256)
    soft = (scene.alpha > 0) & (scene.alpha < 1)
    theirs = estimate_foreground_ml(scene.picture / 255, scene.alpha.astype(np.float64))
    ours = decontaminate(scene.picture, scene.alpha, soft) / 255
    band = (scene.alpha > 0.1) & (scene.alpha < 0.9)
    errors = [np.abs(result[band] - scene.foreground[band]).mean() for result in (ours, theirs)]
    assert errors[0] < share * errors[1], f"ours {errors[0]:.4f}, multilevel {errors[1]:.4f}"


def test_a_soft_line_around_the_subject_keeps_its_colour() -> None:
    # A dark line of which every pixel is soft: no opaque pixel has its colour.
    alpha = np.ones((40, 60), np.float32)
    alpha[:, :28], alpha[:, 28:30] = 0, 0.6
    subject = np.full((40, 60, 3), (240, 200, 180), np.float64)
    subject[:, 28:30] = (40, 20, 30)
    picture = alpha[..., None] * subject + (1 - alpha[..., None]) * (90, 180, 90)
    result = decontaminate(np.rint(picture).astype(np.uint8), alpha, alpha == np.float32(0.6))
    np.testing.assert_allclose(result[:, 28:30], subject[:, 28:30], atol=8)


def test_with_nothing_but_soft_pixels_colours_stay() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    smooth = np.full_like(colour, (90, 120, 150))
    alpha = np.full((20, 30), 0.5, np.float32)
    np.testing.assert_allclose(decontaminate(smooth, alpha, alpha > 0), smooth, atol=1)
    assert decontaminate(colour, alpha, alpha > 0).shape == colour.shape


def test_colours_of_absent_pixels_do_not_bleed_in() -> None:
    colour = np.full((40, 40, 3), (200, 60, 60), np.uint8)
    absent = np.zeros((40, 40), bool)
    absent[:, 22:] = True
    colour[absent] = (0, 255, 0)
    alpha = np.where(absent, 0.0, 1.0).astype(np.float32)
    alpha[:, 18:22] = 0.5
    result = decontaminate(colour, alpha, alpha == 0.5, absent=absent)
    np.testing.assert_allclose(result[:, 18:22], [[[200, 60, 60]] * 4] * 40, atol=2)


def test_nothing_soft_changes_nothing() -> None:
    colour = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    result = decontaminate(colour, np.ones((9, 7), np.float32), np.zeros((9, 7), bool))
    np.testing.assert_array_equal(result, colour)
    assert result is not colour
