import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.matting.matte import CoarseMatte
from imgpipe.matting.refine import finish
from imgpipe.matting.source_alpha import visible_of, with_source_alpha
from imgpipe.settings import RembgSettings


def _with_alpha(alpha: np.ndarray, colour: tuple[int, int, int] = (200, 120, 60)) -> Image:
    levels = np.rint(alpha * 255)
    colours = np.broadcast_to(np.array(colour), (*alpha.shape, 3))
    return Image(np.dstack([colours, levels]).astype(np.uint8))


def _disc(blur_px: float) -> np.ndarray:
    disc = np.zeros((80, 80), np.float32)
    cv2.circle(disc, (40, 40), 22, 1.0, -1)
    return cv2.GaussianBlur(disc, (0, 0), blur_px)


def test_an_even_level_is_multiplied() -> None:
    matte = _disc(2)
    image = _with_alpha(np.full((80, 80), 102 / 255))
    np.testing.assert_allclose(with_source_alpha(matte, image), matte * 0.4, atol=1e-6)


def test_a_full_matte_leaves_the_sources_alpha_exactly() -> None:
    image = Image(np.random.default_rng(0).integers(0, 65536, (30, 40, 2)).astype(np.uint16))
    result = with_source_alpha(np.ones((30, 40), np.float32), image)
    np.testing.assert_array_equal(np.rint(result.astype(np.float64) * 65535), image.pixels[..., 1])


def test_transparency_and_background_both_win() -> None:
    own, matte = np.ones((40, 40)), np.ones((40, 40), np.float32)
    own[5:15], matte[:, 20:] = 0, 0
    result = with_source_alpha(matte, _with_alpha(own))
    assert not result[5:15].any()
    assert not result[:, 20:].any()
    assert (result[20:, :20] == 1).all()


def test_without_alpha_nothing_changes() -> None:
    matte = _disc(1)
    assert with_source_alpha(matte, Image(np.zeros((80, 80, 3), np.uint8))) is matte


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 120, 60)])
def test_an_edge_that_is_already_soft_is_not_squared(colour: tuple[int, int, int]) -> None:
    image = _with_alpha(_disc(1.2), colour)
    coarse = CoarseMatte(_disc(2), 1.0, 1.0)
    matte = finish(image, coarse, RembgSettings(), {})
    truth = image.pixels[..., 3] / 255
    error = np.abs(matte.alpha - truth)
    assert error.max() < 0.06, f"max {error.max():.3f}, mean {error.mean():.5f}"
    assert error.mean() < 0.002
    shown = matte.image.pixels[..., 3] > 8
    np.testing.assert_allclose(matte.image.pixels[shown][:, :3], image.pixels[shown][:, :3], atol=3)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (0, 255, 0)])
def test_what_is_visible_stands_apart_from_what_is_behind(colour: tuple[int, int, int]) -> None:
    own = np.zeros((20, 20))
    own[5:15, 5:15] = 1
    visible = visible_of(_with_alpha(own, colour)).astype(int)
    np.testing.assert_array_equal(visible[10, 10], colour)
    assert np.linalg.norm(visible[0, 0] - np.array(colour)) > 255


def test_hidden_colours_are_not_seen() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 4)).astype(np.uint8)
    pixels[..., 3] = 0
    assert np.unique(visible_of(Image(pixels)).reshape(-1, 3), axis=0).shape[0] == 1
