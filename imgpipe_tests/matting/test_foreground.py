import numpy as np
import pytest

from imgpipe.matting.foreground import decontaminate
from imgpipe_tests.matting.drawing import make_scene


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_known_blend_is_unmixed(dtype: type) -> None:
    full = int(np.iinfo(dtype).max)
    alpha = np.clip((np.arange(60, dtype=np.float32) - 25) / 10, 0, 1)[None].repeat(40, axis=0)
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
